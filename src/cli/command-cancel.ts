import { each } from './line/each.ts'
import { defineVerb } from './line/verb.ts'

export const verb = defineVerb({
  args: [{ name: 'command', count: '1-', completes: 'command' }],
  options: {},
  run: ({ client, args, debug }) =>
    each(args, debug, async (id) => {
      await client.cancel(id)
      return id
    }),
})
