import { each } from './line/each.ts'
import { defineVerb } from './line/verb.ts'

export const verb = defineVerb({
  args: [{ name: 'job', count: '1-', completes: 'job' }],
  options: { reason: { value: 'text', help: 'that is recorded' } },
  run: ({ client, args, flags, debug }) =>
    each(args, debug, async (id) => (await client.jobs.cancel(id, flags.reason)).id),
})
