import { PurserError } from '../model/errors.ts'
import { imageNamed } from './line/image-name.ts'
import { defineVerb } from './line/verb.ts'
import { followCommand } from './terminal/follow-command.ts'
import { humanSize, printJson } from './terminal/output.ts'

export const verb = defineVerb({
  args: [
    { name: 'image', count: '1', completes: 'image' },
    { name: 'name', count: '1' },
  ],
  options: {
    zstd: { help: 'compress the layers with zstd' },
    level: { value: 'level', help: '1 is fast, 19 small; 3 by default', parse: levelOf },
  },
  async run({ client, flags: { zstd, level }, args: [given = '', subject = ''], format }) {
    if (!zstd) {
      throw new PurserError('invalid_argument', 'say what to convert it to', { remedy: 'write --zstd' })
    }
    const source = await imageNamed(client, given)
    const accepted = await client.submit('image.convert', { subject, payload: { source, compression: 'zstd', level } })
    const ended = await followCommand(client, accepted, 'hidden')
    if (typeof ended === 'number') return ended
    const {
      digest,
      sourceBytes = 0,
      bytes = 0,
    } = ended.result as { digest?: string; sourceBytes?: number; bytes?: number }
    if (format !== 'table') printJson(ended.result, format)
    else {
      process.stdout.write(`${ended.subject}: ${digest}, ${humanSize(sourceBytes)} are ${humanSize(bytes)} now\n`)
    }
    return 0
  },
})

function levelOf(text: string): number {
  if (/^\d{1,2}$/.test(text)) return Number(text)
  throw new PurserError('invalid_argument', `${JSON.stringify(text)} is no level`, { remedy: 'write 1 to 19' })
}
