import { each } from './line/each.ts'
import { defineVerb } from './line/verb.ts'

export const verb = defineVerb({
  args: [{ name: 'job', count: '1-', completes: 'job' }],
  options: { force: { short: 'f', help: 'also when they have not ended: they are cancelled first' } },
  run: ({ client, args, flags, debug }) =>
    each(args, debug, async (id) => {
      const { status } = await client.jobs.get(id)
      if (flags.force && (status === 'queued' || status === 'running')) {
        await client.jobs.cancel(id, 'to be removed')
        await client.jobs.ended(id)
      }
      await client.jobs.remove(id)
      return id
    }),
})
