import { each } from './line/each.ts'
import { defineVerb } from './line/verb.ts'

export const verb = defineVerb({
  args: [{ name: 'id', count: '1-', completes: 'sandbox' }],
  options: {},
  run: ({ client, args, debug }) =>
    each(args, debug, async (subject) => (await client.execute('sandbox.start', { subject })).subject),
})
