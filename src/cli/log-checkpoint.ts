import { defineVerb } from './line/verb.ts'
import type { LogStatus } from './log-show.ts'

export const verb = defineVerb({
  args: [],
  options: { seal: { help: 'seal all events first, so that it covers them' } },
  async run({ client, flags }) {
    if (flags.seal) await client.post('/v1/log/seal')
    process.stdout.write((await client.get<LogStatus>('/v1/log')).checkpoint)
    return 0
  },
})
