import { requireNoTerminal, writeArchive } from './line/archive-file.ts'
import { imageNamed } from './line/image-name.ts'
import { defineVerb } from './line/verb.ts'

export const verb = defineVerb({
  args: [{ name: 'image', count: '1-', completes: 'image' }],
  options: {
    output: { short: 'o', value: 'file', completes: 'file', help: 'file to write, instead of standard output' },
    platform: { value: 'os/arch', help: 'only this one; all that are here without it' },
  },
  async run({ client, flags: { output, platform }, args }) {
    requireNoTerminal(output, 'purser save IMAGE > image.tar')
    const [subject = '', ...also] = await Promise.all(args.map((given) => imageNamed(client, given)))
    const { id } = await client.execute('image.export', { subject, payload: { also, platform } })
    await writeArchive(client.fetchArchive(id), output)
    return 0
  },
})
