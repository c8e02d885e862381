import type { ImageView, PurserClient } from '../../client/index.ts'
import { errorCodeOf, PurserError } from '../../model/errors.ts'

const ID = /^(?:sha256:)?([0-9a-f]{4,64})$/

/**
 * An image by what docker takes: a name, or an ID or the beginning of one, of its configuration, manifest or index.
 *
 * @returns all names that are meant: of an ID, those that it has
 * @throws PurserError not_found; invalid_argument for the beginning of several IDs
 */
export async function imagesNamed(client: PurserClient, given: string): Promise<ImageView[]> {
  const hex = ID.exec(given)?.[1]
  if (hex === undefined) return [await client.image(given)]
  // A short name may look like an ID: it is a name first, as docker has it, but for whole IDs.
  if (hex.length < 64 && !given.startsWith('sha256:')) {
    const named = await client.image(given).catch((error: unknown) => {
      if (errorCodeOf(error) !== 'not_found') throw error
      return undefined
    })
    if (named) return [named]
  }
  const begins = (digest: string) => digest.startsWith(`sha256:${hex}`)
  const all = await Array.fromAsync(client.list('images'))
  const found = all.filter(({ config, manifest, target }) =>
    [config, manifest, target].some((each) => begins(each.digest)),
  )
  const ids = new Set(found.map(({ config }) => config.digest))
  if (ids.size === 1) return found
  if (ids.size === 0) {
    throw new PurserError('not_found', `no image in namespace ${client.namespace} has the name or ID ${given}`, {
      remedy: 'purser images lists them',
    })
  }
  throw new PurserError('invalid_argument', `${given} is the beginning of the IDs of ${ids.size} images`, {
    remedy: 'write more of it',
  })
}

/** One name of the image that is meant. */
export async function imageNamed(client: PurserClient, given: string): Promise<string> {
  return ID.test(given) ? ((await imagesNamed(client, given))[0]?.name ?? given) : given
}

/** As docker shows it: without what it would add itself. */
export function familiarName(name: string): { repository: string; tag: string } {
  const [named = '', digest] = name.split('@')
  const slash = named.lastIndexOf('/')
  const colon = named.indexOf(':', slash)
  const path = colon < 0 ? named : named.slice(0, colon)
  return {
    repository: path.replace(/^docker\.io\/(?:library\/)?/, ''),
    tag: colon < 0 || digest !== undefined ? '<none>' : named.slice(colon + 1),
  }
}
