import { defineVerb } from './line/verb.ts'
import { printJson } from './terminal/output.ts'

export const verb = defineVerb({
  args: [{ name: 'job', count: '1', completes: 'job' }],
  options: {},
  async run({ client, args: [id = ''], format }) {
    printJson(await client.jobs.get(id), format)
    return 0
  },
})
