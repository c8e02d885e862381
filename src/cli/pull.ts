import { defineVerb } from './line/verb.ts'
import { wholeNumber } from './options/numbers.ts'
import { readRegistryAuth, registryAuthOptions } from './options/registry-auth.ts'
import { followCommand } from './terminal/follow-command.ts'
import { humanSize, printJson } from './terminal/output.ts'

export const verb = defineVerb({
  args: [{ name: 'image', count: '1', completes: 'image' }],
  options: {
    quiet: { short: 'q', help: 'print only the name' },
    platform: { value: 'os/arch', help: "instead of this host's" },
    'all-platforms': { help: 'store what there is for all other platforms too; only the one is unpacked' },
    ...registryAuthOptions,
    'keep-layers': { help: 'keep compressed layers, where the daemon discards them once they are unpacked' },
    priority: { value: 'n', parse: wholeNumber(1, 2_097_151), help: '1 is the most urgent, 100 the default' },
    snapshotter: {
      value: 'name',
      help: 'where it is unpacked: overlayfs (the default), native, … (purser snapshotter ls)',
    },
  },
  async run({ client, flags, args: [image = ''], format }) {
    const { platform, snapshotter, quiet, priority } = flags
    const registryAuth = await readRegistryAuth(flags)
    const layers = flags['keep-layers'] ? ('keep' as const) : undefined
    const payload = { platform, snapshotter, layers, allPlatforms: flags['all-platforms'] }
    const urgency = priority === undefined ? {} : { priority }
    const accepted = await client.submit('image.pull', { subject: image, payload, registryAuth, ...urgency })
    const isShown = !quiet && format === 'table'
    const ended = await followCommand(client, accepted, isShown ? 'shown' : 'hidden')
    if (typeof ended === 'number') return ended
    const { digest, cached, fetchedBytes = 0 } = ended.result as Partial<PullResult>
    if (isShown) {
      process.stdout.write(`${digest}: ${cached ? 'nothing to fetch' : `${humanSize(fetchedBytes)} fetched`}\n`)
    }
    if (format === 'table') process.stdout.write(`${ended.subject}\n`)
    else printJson({ name: ended.subject, ...ended.result }, format)
    return 0
  },
})

interface PullResult {
  digest: string
  cached: boolean
  fetchedBytes: number
}
