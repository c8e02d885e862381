import { each } from './line/each.ts'
import { defineVerb } from './line/verb.ts'
import { wholeNumber } from './options/numbers.ts'

export const verb = defineVerb({
  args: [{ name: 'id', count: '1-', completes: 'sandbox' }],
  options: {
    time: {
      short: 't',
      value: 'seconds',
      parse: wholeNumber(0, 86_400),
      help: 'that its containers have to end by themselves, and then the sandbox; 10 by default',
    },
  },
  run: ({ client, args, flags: { time }, debug }) =>
    each(args, debug, async (subject) => {
      const payload = time === undefined ? {} : { graceMs: time * 1000 }
      return (await client.execute('sandbox.stop', { subject, payload })).subject
    }),
})
