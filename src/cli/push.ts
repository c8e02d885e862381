import { imageNamed } from './line/image-name.ts'
import { defineVerb } from './line/verb.ts'
import { readRegistryAuth, registryAuthOptions } from './options/registry-auth.ts'
import { followCommand } from './terminal/follow-command.ts'
import { humanSize, printJson } from './terminal/output.ts'

export const verb = defineVerb({
  args: [{ name: 'image', count: '1', completes: 'image' }],
  options: {
    quiet: { short: 'q', help: 'print only the name' },
    platform: { value: 'os/arch', help: 'only this one; all that are here without it' },
    ...registryAuthOptions,
    to: { value: 'name', help: 'where to, when it is not the name itself' },
  },
  async run({ client, flags, args: [given = ''], format }) {
    const { quiet, platform, to } = flags
    const subject = await imageNamed(client, given)
    const registryAuth = await readRegistryAuth(flags)
    const accepted = await client.submit('image.push', { subject, payload: { platform, to }, registryAuth })
    const isShown = !quiet && format === 'table'
    const ended = await followCommand(client, accepted, isShown ? 'shown' : 'hidden')
    if (typeof ended === 'number') return ended
    const result = ended.result as Partial<PushResult>
    if (format !== 'table') printJson({ name: ended.subject, ...result }, format)
    else if (quiet) process.stdout.write(`${result.to}\n`)
    else {
      if (!result.isWhole) {
        process.stdout.write(`Pushed what is here of it: ${result.platforms?.join(', ')}\n`)
      }
      process.stdout.write(`${result.to}: digest: ${result.digest}, ${humanSize(result.sentBytes ?? 0)} sent\n`)
    }
    return 0
  },
})

interface PushResult {
  to: string
  digest: string
  platforms: string[]
  sentBytes: number
  isWhole: boolean
}
