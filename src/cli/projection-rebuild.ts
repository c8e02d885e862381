import { each } from './line/each.ts'
import { defineVerb } from './line/verb.ts'

export const verb = defineVerb({
  args: [{ name: 'projection', count: '1-' }],
  options: {},
  run: ({ client, args, debug }) =>
    each(args, debug, async (name) => {
      await client.post(`/v1/projections/${encodeURIComponent(name)}/rebuild`)
      return name
    }),
})
