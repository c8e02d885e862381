import { durationMs } from '../model/duration-form.ts'
import { PurserError } from '../model/errors.ts'
import { defineVerb } from './line/verb.ts'

export const verb = defineVerb({
  args: [{ name: 'reason', count: '1' }],
  options: {
    for: {
      value: 'duration',
      help: 'how long it lasts at most, such as 30m; until it is stopped without it',
      parse(text) {
        const ms = durationMs(text)
        if (ms === undefined || ms === 0)
          throw new PurserError('invalid_argument', `${JSON.stringify(text)} is no duration`, {
            remedy: 'write one such as 30m or 1h30m',
          })
        return ms
      },
    },
  },
  async run({ client, args: [reason = ''], flags }) {
    const until = flags.for === undefined ? undefined : new Date(Date.now() + flags.for).toISOString()
    const payload = { reason, ...(until === undefined ? {} : { until }) }
    await client.execute('maintenance.start', { subject: 'node', payload })
    process.stdout.write(`alerts are silent until ${until ?? 'purser maintenance stop'}\n`)
    return 0
  },
})
