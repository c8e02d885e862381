import { each } from './line/each.ts'
import { defineVerb } from './line/verb.ts'

export const verb = defineVerb({
  args: [{ name: 'name', count: '1-', completes: 'network' }],
  options: {},
  run: ({ client, args, debug }) =>
    each(args, debug, async (subject) => (await client.execute('network.remove', { subject })).subject),
})
