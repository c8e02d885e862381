import { failed } from './line/failed.ts'
import { defineVerb } from './line/verb.ts'
import { statusOfJob, tellWhy } from './terminal/job-output.ts'

export const verb = defineVerb({
  args: [{ name: 'job', count: '1-', completes: 'job' }],
  options: {},
  async run({ client, args, debug }) {
    let status = 0
    for (const id of args) {
      try {
        const job = await client.jobs.ended(id)
        process.stdout.write(`${job.status}\n`)
        tellWhy(job)
        status ||= statusOfJob(job)
      } catch (thrown) {
        status ||= failed(thrown, { debug })
      }
    }
    return status
  },
})
