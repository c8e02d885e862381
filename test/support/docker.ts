import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync } from 'node:fs'
import { mkdtemp, open, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { execa } from 'execa'
import { removeLeftovers } from './leftovers.ts'

/** Debian's docker.io: too large to be installed for a test or two, and used where it is there. */
const DOCKERD = '/usr/sbin/dockerd'
const DOCKER = '/usr/bin/docker'
const START_MS_MAX = 20_000

export const hasDocker: boolean = [DOCKERD, DOCKER].every((path) => {
  try {
    accessSync(path)
    return true
  } catch {
    return false
  }
})

export interface Docker extends AsyncDisposable {
  /** Of its API. */
  readonly socketPath: string
  /** Runs `docker` against it. @throws Error with what it wrote when it fails */
  docker(...args: string[]): Promise<string>
}

/** A dockerd with directories of its own under `parent`, which leaves the network of the machine alone. */
export async function startDocker(parent: string): Promise<Docker> {
  const dir = await mkdtemp(join(parent, 'dk-'))
  const socket = `unix://${dir}/s`
  const log = await open(`${dir}/log`, 'a')
  const own = ['--data-root', `${dir}/data`, '--exec-root', `${dir}/run`, '--host', socket, '--pidfile', `${dir}/pid`]
  const network = ['--iptables=false', '--ip6tables=false', '--ip-masq=false', '--ip-forward=false', '--bridge=none']
  const child = spawn(DOCKERD, [...own, ...network], { stdio: ['ignore', log.fd, log.fd] })
  await log.close()
  const exited = once(child, 'exit')
  const docker: Docker = {
    socketPath: `${dir}/s`,
    docker: async (...args) =>
      (await execa(DOCKER, ['--host', socket, ...args], { extendEnv: true, env: { DOCKER_CONFIG: dir } })).stdout,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      await exited
      const left = await removeLeftovers(dir, `${dir}/run`)
      await rm(dir, { recursive: true, force: true, maxRetries: 5 })
      if (left.length > 0) throw new Error(`left behind by dockerd: ${left.join(', ')}`)
    },
  }
  const deadline = Date.now() + START_MS_MAX
  while (!(await docker.docker('version').then(Boolean, () => false))) {
    if (Date.now() > deadline || child.exitCode !== null) {
      const said = await readFile(`${dir}/log`, 'utf8')
      await docker[Symbol.asyncDispose]()
      throw new Error(`dockerd does not answer: ${said.slice(-2000)}`)
    }
    await delay(50)
  }
  return docker
}
