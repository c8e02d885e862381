import type { StateDocument } from '../projections/state-diff.ts'
import { defineVerb } from './line/verb.ts'
import { print } from './terminal/output.ts'

export const verb = defineVerb({
  args: [{ name: 'id', count: '0-1', completes: 'subject' }],
  options: {
    at: { value: 'moment', help: 'a position, an RFC 3339 time or a duration (15m); now without it' },
    aggregate: { value: 'name', help: 'container, task, image …; all but commands without it' },
  },
  async run({ client, flags, args: [id], format }) {
    const query = { ...flags, id, namespace: client.namespace }
    const { items } = await client.get<{ items: StateDocument[] }>('/v1/state', query)
    print(items, format, {
      AGGREGATE: ({ aggregate }) => aggregate,
      ID: ({ id }) => id,
      VERSION: ({ version }) => String(version),
      STATUS: ({ state }) => statusOf(state),
    })
    return 0
  },
})

const statusOf = (state: unknown): string =>
  typeof state === 'object' && state !== null && 'status' in state ? String(state.status) : ''
