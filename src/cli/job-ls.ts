import { defineVerb } from './line/verb.ts'
import { age, print } from './terminal/output.ts'

export const verb = defineVerb({
  args: [],
  options: {
    status: {
      value: 'status',
      many: true,
      choices: ['queued', 'running', 'succeeded', 'failed', 'cancelled'],
      help: 'only those; all by default',
    },
    label: { short: 'l', value: 'selector', many: true, help: 'only those: k, k=v or k!=v' },
    group: { value: 'name', help: 'only those of this concurrency group' },
    quiet: { short: 'q', help: 'only ids' },
  },
  async run({ client, flags, format }) {
    const { status, label, group, quiet } = flags
    const jobs = await Array.fromAsync(client.list('jobs', { status, label, group }))
    if (quiet) process.stdout.write(jobs.map(({ id }) => `${id}\n`).join(''))
    else
      print(jobs, format, {
        ID: ({ id }) => id,
        NAME: ({ name = '' }) => name,
        STATUS: ({ status }) => status,
        ATTEMPTS: ({ attempts }) => String(attempts.length),
        QUEUED: ({ timings: { queuedMs } }) => seconds(queuedMs),
        RAN: ({ timings: { ranMs } }) => seconds(ranMs),
        SUBMITTED: ({ submittedAt }) => age(submittedAt),
      })
    return 0
  },
})

const seconds = (ms: number | undefined): string => (ms === undefined ? '' : `${(ms / 1000).toFixed(1)}s`)
