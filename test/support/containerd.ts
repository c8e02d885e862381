import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { temporaryDirectory } from './trees.ts'

export interface TestContainerd extends AsyncDisposable {
  /** Path of its gRPC socket. */
  address: string
}

/** A containerd of its own, without the CRI: disposal ends it and removes what it has. */
export async function startContainerd(): Promise<TestContainerd> {
  const work = temporaryDirectory()
  const address = join(work.path, 'c.sock')
  const config = join(work.path, 'config.toml')
  writeFileSync(
    config,
    `version = 2
root = "${work.path}/root"
state = "${work.path}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
  address = "${address}"
[debug]
  level = "error"
`,
  )
  const daemon: ChildProcess = spawn('containerd', ['--config', config], { stdio: 'ignore' })
  while (!existsSync(address)) {
    if (daemon.exitCode !== null) throw new Error(`containerd has ended with ${daemon.exitCode}`)
    await delay(20)
  }
  return {
    address,
    async [Symbol.asyncDispose]() {
      if (daemon.exitCode === null) {
        daemon.kill('SIGKILL')
        await once(daemon, 'exit')
      }
      work[Symbol.dispose]()
    },
  }
}
