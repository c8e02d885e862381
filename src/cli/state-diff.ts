import type { Difference } from '../projections/state-diff.ts'
import { defineVerb } from './line/verb.ts'
import { print } from './terminal/output.ts'

export const verb = defineVerb({
  args: [
    { name: 'from', count: '1' },
    { name: 'to', count: '0-1' },
  ],
  options: { aggregate: { value: 'name', help: 'container, task, image …; all but commands without it' } },
  async run({ client, flags, args: [from = '', to], format }) {
    const query = { ...flags, from, to, namespace: client.namespace }
    const { items } = await client.get<{ items: Difference[] }>('/v1/state/diff', query)
    print(items, format, {
      CHANGE: ({ change }) => change,
      AGGREGATE: ({ aggregate }) => aggregate,
      ID: ({ id }) => id,
      FIELDS: ({ fields }) =>
        fields.map(({ path, before, after }) => `${path}: ${shown(before)} → ${shown(after)}`).join(', '),
    })
    return 0
  },
})

const shown = (value: unknown): string =>
  value === undefined ? '-' : typeof value === 'string' ? value : JSON.stringify(value)
