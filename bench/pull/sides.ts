import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { startNode, type TestNode } from '../../test/support/daemon.ts'
import { hasDocker, startDocker } from '../../test/support/docker.ts'
import { startContainerd } from '../support/containerd.ts'
import { hasPodman, startPodman } from '../support/podman.ts'
import { Api, purser } from '../support/purser.ts'
import { timed } from '../support/statistics.ts'

/** On disk write-back decides, and not either program. */
export const TMPFS = '/dev/shm'

/** A fresh daemon with its directories under `parent` pulls, as whole commands. @returns milliseconds */
export async function pullWithPurser(parent: string, references: readonly string[], config = ''): Promise<number> {
  await using node = await startNode({ parent, config })
  return await timed(() => Promise.all(references.map((reference) => purser(node, 'pull', '--quiet', reference))))
}

/** @see pullWithPurser */
export async function pullWithContainerd(parent: string, references: readonly string[]): Promise<number> {
  await using containerd = await startContainerd(parent)
  const pull = (reference: string) => containerd.ctr('image', 'pull', '--plain-http', reference)
  return await timed(() => Promise.all(references.map(pull)))
}

/** Where Debian's docker.io and podman are there; neither is needed for anything else. */
export const OTHERS = {
  docker: { isThere: hasDocker, pull: pullWithDocker },
  podman: { isThere: hasPodman, pull: pullWithPodman },
} as const

async function pullWithDocker(parent: string, reference: string): Promise<number> {
  await using docker = await startDocker(parent)
  return await timed(() => docker.docker('pull', '--quiet', reference))
}

async function pullWithPodman(parent: string, reference: string): Promise<number> {
  await using podman = await startPodman(parent)
  return await timed(() => podman.run('pull', '--quiet', '--tls-verify=false', reference))
}

/** Milliseconds that small requests take, asked one after the other until `ended`. */
export async function apiLatencies(node: TestNode, ended: Promise<unknown>): Promise<number[]> {
  using api = new Api(node)
  const samples: number[] = []
  let isOver = false
  void ended.finally(() => {
    isOver = true
  })
  while (!isOver) {
    samples.push(await timed(() => api.ask('GET', '/v1/containers?limit=10')))
    await delay(5)
  }
  return samples
}

/** MiB of memory that a process has at most had, and has now. */
export function memoryOf(pid: number): { peak: number; now: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1024
  return { peak: field('VmHWM'), now: field('VmRSS') }
}
