import { PurserError } from '../model/errors.ts'
import { defineVerb } from './line/verb.ts'
import { writeOut } from './terminal/output.ts'

const LINE_FEED = Buffer.of(10)

export const verb = defineVerb({
  args: [{ name: 'container', count: '1', completes: 'container' }],
  options: {
    follow: { short: 'f', help: 'go on until the container has ended' },
    tail: { value: 'lines', parse: lines, help: 'of what is there, the last lines; all by default' },
    since: { value: 'time', help: 'an RFC 3339 time or how long ago: 15m' },
    until: { value: 'time', help: 'lines before it, written as for --since' },
    timestamps: { short: 't', help: 'each line after its time' },
  },
  async run({ client, flags, args: [name = ''] }) {
    const { id } = await client.container(name)
    const { follow, since, until, tail } = flags
    // A line may come in parts, of each stream: its time stands before the first.
    const begun = new Set<string>()
    for await (const { time, stream, isPartial, text } of client.logs(id, { follow, since, until, tail })) {
      const stamp = flags.timestamps && !begun.has(stream) ? [Buffer.from(`${time} `)] : []
      if (isPartial) begun.add(stream)
      else begun.delete(stream)
      const out = stream === 'stderr' ? process.stderr : process.stdout
      await writeOut(out, Buffer.concat([...stamp, text, ...(isPartial ? [] : [LINE_FEED])]))
    }
    return 0
  },
})

function lines(text: string): number | undefined {
  if (text === 'all') return undefined
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw new PurserError('invalid_argument', `${JSON.stringify(text)} is not a number of lines`, {
    remedy: 'write a whole number, or all',
  })
}
