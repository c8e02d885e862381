import { each } from './line/each.ts'
import { defineVerb } from './line/verb.ts'

export const verb = defineVerb({
  args: [{ name: 'id', count: '1-', completes: 'sandbox' }],
  options: { force: { short: 'f', help: 'also those that run or have containers, which are removed too' } },
  run: ({ client, args, flags, debug }) =>
    each(args, debug, async (subject) => {
      const payload = { inUse: flags.force ? ('remove' as const) : ('refuse' as const) }
      return (await client.execute('sandbox.delete', { subject, payload })).subject
    }),
})
