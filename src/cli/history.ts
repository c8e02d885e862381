import { PurserError } from '../model/errors.ts'
import { defineVerb } from './line/verb.ts'
import { whatOf } from './terminal/event-words.ts'
import { print } from './terminal/output.ts'

export const verb = defineVerb({
  args: [{ name: 'subject', count: '1', completes: 'subject' }],
  options: {},
  async run({ client, args: [subject = ''], format }) {
    const events = await client.history(subject)
    if (events.length === 0) {
      throw new PurserError('not_found', `the log tells nothing of ${subject} in namespace ${client.namespace}`, {
        remedy: 'purser events shows what it tells',
      })
    }
    print(events, format, {
      POSITION: ({ position }) => String(position),
      TIME: ({ time }) => time,
      EVENT: ({ type }) => type,
      SUBJECT: ({ subject }) => subject,
      ACTOR: ({ actor }) => actor,
      WHAT: ({ data }) => whatOf(data),
    })
    return 0
  },
})
