import { PurserError } from '../model/errors.ts'
import { defineVerb } from './line/verb.ts'
import { print } from './terminal/output.ts'
import { storyOf } from './terminal/story.ts'

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
    if (format === 'table') process.stdout.write(`${[...storyOf(events)].join('\n')}\n`)
    else print(events, format, {})
    return 0
  },
})
