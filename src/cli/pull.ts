import { defineVerb } from './line/verb.ts'
import { readRegistryAuth, registryAuthOptions } from './options/registry-auth.ts'
import { humanSize, printJson } from './terminal/output.ts'
import { showProgress } from './terminal/progress.ts'
import { Signals, statusOf } from './terminal/signals.ts'

/** The last bars are drawn within this, or not at all. */
const LAST_BARS_MS = 1000

export const verb = defineVerb({
  args: [{ name: 'image', count: '1', completes: 'image' }],
  options: {
    quiet: { short: 'q', help: 'print only the name' },
    platform: { value: 'os/arch', help: "instead of this host's" },
    ...registryAuthOptions,
    snapshotter: { value: 'name', help: 'where it is unpacked: overlayfs (the default) or native' },
  },
  async run({ client, flags, args: [image = ''], format }) {
    const { platform, snapshotter, quiet } = flags
    const registryAuth = await readRegistryAuth(flags)
    const payload = { platform, snapshotter }
    const accepted = await client.submit('image.pull', { subject: image, payload, registryAuth })
    const left = new AbortController()
    const settled = new AbortController()
    let status = 0
    using _ = new Signals((signal) => {
      // A second one does not wait for the daemon.
      if (status !== 0) return left.abort()
      status = statusOf(signal)
      client.cancel(accepted.id).catch(() => {}) // It has ended meanwhile.
    })
    const isShown = !quiet && format === 'table'
    const shown = isShown ? showProgress(client, accepted.id, settled.signal, process.stdout) : undefined
    shown?.catch(() => {}) // The command's own failure is what counts.
    try {
      const ended = await client.ended(accepted.id, left.signal)
      const late = setTimeout(() => settled.abort(), LAST_BARS_MS)
      await shown?.catch(() => {})
      clearTimeout(late)
      const { digest, cached, fetchedBytes = 0 } = ended.result as Partial<PullResult>
      if (isShown) {
        process.stdout.write(`${digest}: ${cached ? 'nothing to fetch' : `${humanSize(fetchedBytes)} fetched`}\n`)
      }
      if (format === 'table') process.stdout.write(`${ended.subject}\n`)
      else printJson({ name: ended.subject, ...ended.result }, format)
      return 0
    } catch (error) {
      if (status === 0) throw error
      return status
    } finally {
      settled.abort()
    }
  },
})

interface PullResult {
  digest: string
  cached: boolean
  fetchedBytes: number
}
