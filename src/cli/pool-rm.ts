import { each } from './line/each.ts'
import { defineVerb } from './line/verb.ts'

export const verb = defineVerb({
  args: [{ name: 'name', count: '1-' }],
  options: { force: { short: 'f', help: 'also when tasks of it are claimed: they end' } },
  run: ({ client, args, flags, debug }) =>
    each(args, debug, async (subject) => {
      const payload = { claimed: flags.force ? ('remove' as const) : ('refuse' as const) }
      return (await client.execute('pool.delete', { subject, payload })).subject
    }),
})
