import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { removeLeftovers } from '../../test/support/leftovers.ts'
import { run } from './run.ts'

const START_MS_MAX = 20_000

export interface Containerd extends AsyncDisposable {
  readonly socketPath: string
  readonly pid: number
  /** Runs `ctr` against it. @throws Error with what it wrote when it fails */
  ctr(...args: string[]): Promise<string>
}

/** Debian's containerd with directories of its own under `parent`; without CRI, which Purser has no counterpart of yet. */
export async function startContainerd(parent: string): Promise<Containerd> {
  const dir = await mkdtemp(join(parent, 'bc-'))
  const socketPath = `${dir}/s`
  await writeFile(
    `${dir}/config.toml`,
    `version = 2
root = "${dir}/root"
state = "${dir}/run"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "${socketPath}"
[ttrpc]
address = "${dir}/t"
`,
  )
  const log = await open(`${dir}/log`, 'a')
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'containerd', '--config', `${dir}/config.toml`], {
    stdio: ['ignore', log.fd, log.fd],
  })
  await log.close()
  const exited = once(child, 'exit')
  const containerd: Containerd = {
    socketPath,
    pid: child.pid ?? 0,
    ctr: (...args) => run('ctr', ['-a', socketPath, ...args]),
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      await exited
      const left = await removeLeftovers(dir, `${dir}/run`)
      await rm(dir, { recursive: true, force: true, maxRetries: 5 })
      if (left.length > 0) throw new Error(`left behind by containerd: ${left.join(', ')}`)
    },
  }
  const deadline = Date.now() + START_MS_MAX
  while (true) {
    const answers = await containerd.ctr('version').then(
      () => true,
      () => false,
    )
    if (answers) return containerd
    if (Date.now() > deadline || child.exitCode !== null) {
      await containerd[Symbol.asyncDispose]()
      throw new Error('containerd does not answer')
    }
    await delay(50)
  }
}
