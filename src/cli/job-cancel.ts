import { PurserError } from '../model/errors.ts'
import { each } from './line/each.ts'
import { defineVerb } from './line/verb.ts'

export const verb = defineVerb({
  args: [{ name: 'job', count: '0-', completes: 'job' }],
  options: {
    reason: { value: 'text', help: 'that is recorded' },
    status: { value: 'status', many: true, choices: ['queued', 'running'], help: 'all of them, instead of names' },
    label: { short: 'l', value: 'selector', many: true, help: 'all that have it: k, k=v or k!=v' },
    group: { value: 'name', help: 'all of this concurrency group' },
  },
  async run({ client, args, flags: { reason, ...selection }, debug }) {
    const { status, label, group } = selection
    const isSelected = status.length + label.length > 0 || group !== undefined
    if (isSelected === args.length > 0) {
      throw new PurserError('invalid_argument', 'either jobs are named, or --status, --label or --group says which', {
        remedy: 'purser job cancel JOB, or purser job cancel --status queued',
      })
    }
    if (!isSelected) return await each(args, debug, async (id) => (await client.jobs.cancel(id, reason)).id)
    for (const id of await client.jobs.cancelAll(selection, reason)) process.stdout.write(`${id}\n`)
    return 0
  },
})
