import type { Reason } from '../projections/why.ts'
import { defineVerb } from './line/verb.ts'
import { print } from './terminal/output.ts'

export const verb = defineVerb({
  args: [{ name: 'subject', count: '1', completes: 'subject' }],
  options: {},
  async run({ client, args: [subject = ''], format }) {
    const { items } = await client.get<{ items: Reason[] }>(`/v1/why/${encodeURIComponent(subject)}`)
    if (format !== 'table') print(items, format, {})
    else if (items.length === 0) process.stdout.write(`${subject} has neither ended nor failed\n`)
    else for (const { time, text, position } of items) process.stdout.write(`${time}  ${text}  (event ${position})\n`)
    return 0
  },
})
