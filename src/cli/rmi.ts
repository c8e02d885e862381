import { each } from './line/each.ts'
import { defineVerb } from './line/verb.ts'

export const verb = defineVerb({
  args: [{ name: 'image', count: '1-', completes: 'image' }],
  options: { force: { short: 'f', help: 'even if a container uses it' } },
  run: ({ client, flags, args, debug }) => {
    const payload = { inUse: flags.force ? 'allow' : 'refuse' } as const
    return each(args, debug, async (subject) => (await client.execute('image.delete', { subject, payload })).subject)
  },
})
