import type { PurserClient } from '../client/index.ts'
import { errorCodeOf, PurserError } from '../model/errors.ts'
import { defineVerb } from './line/verb.ts'
import { printFound } from './terminal/inspected.ts'

const PATHS = {
  container: (name: string) => `/v1/containers/${encodeURIComponent(name)}`,
  image: (name: string) => `/v1/images/${encodeURIComponent(name)}`,
  command: (name: string) => `/v1/commands/${encodeURIComponent(name)}`,
  content: (name: string) => `/v1/content/${encodeURIComponent(name)}`,
  snapshot: (name: string) => `/v1/snapshots/${name.split('/').map(encodeURIComponent).join('/')}`,
  network: (name: string) => `/v1/networks/${encodeURIComponent(name)}`,
  project: (name: string) => `/v1/projects/${encodeURIComponent(name)}`,
  namespace: (name: string) => `/v1/namespaces/${encodeURIComponent(name)}`,
}
type Kind = keyof typeof PATHS
const KINDS = Object.keys(PATHS) as Kind[]

export const verb = defineVerb({
  args: [{ name: 'name', count: '1-', completes: 'subject' }],
  options: {
    type: { value: 'type', choices: KINDS, help: 'what it is, where several have the name' },
    at: { value: 'moment', help: 'as it was: at a position, an RFC 3339 time or a duration ago (15m)' },
  },
  async run({ client, flags, args, format, debug }) {
    const kinds = KINDS.filter((kind) => flags.type === undefined || kind === flags.type)
    return await printFound(
      args,
      async (name) =>
        flags.at === undefined ? [await find(client, name, kinds)] : await findAt(client, name, flags.at, flags.type),
      { format, debug },
    )
  },
})

/** The first kind of thing that has the name. @throws PurserError not_found, or why it cannot be told */
async function find(client: PurserClient, name: string, kinds: readonly Kind[]): Promise<unknown> {
  for (const kind of kinds) {
    try {
      return await client.get(PATHS[kind](name))
    } catch (error) {
      const isAmbiguous = kind === 'container' && errorCodeOf(error) === 'invalid_argument'
      // What cannot be the name of one kind may be that of another.
      if (isAmbiguous || !['not_found', 'invalid_argument'].includes(errorCodeOf(error) ?? '')) throw error
    }
  }
  const { namespace } = client
  throw new PurserError('not_found', `no ${kinds.join(', ')} in namespace ${namespace} is named ${name}`, {
    remedy: 'purser ps -a and purser images list what there is',
  })
}

/** Everything that had the name at a moment. */
async function findAt(client: PurserClient, id: string, at: string, aggregate: string | undefined): Promise<unknown[]> {
  const { namespace } = client
  const { items, position } = await client.get<{ items: unknown[]; position: number }>('/v1/state', {
    at,
    id,
    aggregate,
    namespace,
  })
  if (items.length > 0) return items
  throw new PurserError('not_found', `nothing in namespace ${namespace} was named ${id} after event ${position}`, {
    remedy: `purser history ${id} tells when it was there`,
  })
}
