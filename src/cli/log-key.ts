import { defineVerb } from './line/verb.ts'
import type { LogStatus } from './log-show.ts'

export const verb = defineVerb({
  args: [],
  options: {},
  async run({ client }) {
    process.stdout.write(`${(await client.get<LogStatus>('/v1/log')).key}\n`)
    return 0
  },
})
