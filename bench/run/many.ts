import { readFile } from 'node:fs/promises'
import { mapLimited } from '../../src/model/concurrency.ts'
import { startNode } from '../../test/support/daemon.ts'
import { findLeftovers } from '../../test/support/leftovers.ts'
import { startContainerd } from '../support/containerd.ts'
import { containerdRunner } from '../support/containerd-run.ts'
import { memoryOf } from '../support/memory.ts'
import { Api } from '../support/purser.ts'
import type { Found } from '../support/scenario.ts'
import { quantile, timed } from '../support/statistics.ts'
import { workDir } from '../support/work-dir.ts'

const COUNT = 200
const AT_ONCE = 8
const REQUESTS = 1000
const ARGS = ['sleep', '100000']
const IDS = Array.from({ length: COUNT }, (_, at) => `many${at}`)

/** Proportional set sizes, in MiB. */
interface Held {
  daemon: number
  shims: number
}

/** What it costs to have 200 containers running, and how long a daemon takes to have them again after SIGKILL. */
export async function many(image: string): Promise<Found> {
  const purser = await withPurser(image)
  const containerd = await withContainerd(image)
  const each = (after: Held, before: Held) => ({
    shim: after.shims / COUNT,
    daemon: (after.daemon - before.daemon) / COUNT,
  })
  const [own, other] = [each(purser.after, purser.before), each(containerd.after, containerd.before)]
  const memory = (what: string, a: number, b: number) => ({
    what: `memory for each of ${COUNT} containers, ${what}`,
    unit: 'MiB',
    purser: a,
    containerd: b,
    ratio: a / b,
  })
  return {
    method: `Many: ${COUNT} containers that sleep. Memory is the proportional set size, of the shims and of what the daemon (Purser's with its Redis) has
grown by; containerd runs without CRI. API: ${REQUESTS} requests one after the other, a list of ten and one container by turns. Adoption: from the
start of a daemon whose predecessor was killed until it is ready, which it is once it has all of them again.`,
    measures: [
      memory('its shim', own.shim, other.shim),
      memory('the daemon', own.daemon, other.daemon),
      { what: `API with ${COUNT} containers running, p50`, unit: 'ms', purser: quantile(purser.latencies, 0.5) },
      { what: `API with ${COUNT} containers running, p99`, unit: 'ms', purser: quantile(purser.latencies, 0.99) },
      { what: `adoption of ${COUNT} containers after SIGKILL`, unit: 'ms', purser: purser.adoptionMs },
    ],
    samples: {},
  }
}

async function withPurser(image: string) {
  await using work = await workDir()
  await using node = await startNode({ parent: work.path })
  using api = new Api(node)
  await api.execute('image.pull', image)
  const held = async (): Promise<Held> => {
    const { pss } = await memoryOf(Number(await readFile(`${node.root}/redis/redis.pid`, 'utf8')))
    return { daemon: (await memoryOf(node.pid)).pss + pss, shims: await shimsOf(node) }
  }
  const before = await held()
  const begin = (id: string) => api.execute('container.run', id, { image, options: { args: ARGS } })
  await mapLimited(IDS, AT_ONCE, AbortSignal.timeout(600_000), begin)
  const after = await held()
  const latencies: number[] = []
  for (let at = 0; at < REQUESTS; at++) {
    const path = at % 2 === 0 ? '/v1/containers?limit=10' : `/v1/containers/${IDS[at % COUNT]}`
    latencies.push(await timed(() => api.ask('GET', path)))
  }
  await node.kill9()
  const adoptionMs = await timed(() => node.restart())
  using again = new Api(node)
  const [, text] = await again.ask('GET', `/v1/tasks?limit=${COUNT}`)
  const running = text.split('"status":"running"').length - 1
  if (running !== COUNT) throw new Error(`${running} of ${COUNT} run after the restart`)
  await mapLimited(IDS, AT_ONCE, AbortSignal.timeout(600_000), (id) =>
    again.execute('container.remove', id, { running: 'kill' }),
  )
  return { before, after, latencies, adoptionMs }
}

async function withContainerd(image: string) {
  await using work = await workDir()
  await using containerd = await startContainerd(work.path)
  await containerd.ctr('image', 'pull', '--plain-http', image)
  using runner = await containerdRunner(containerd, image, ARGS)
  const at = { dir: work.path, state: `${work.path}/run` }
  const held = async (): Promise<Held> => ({
    daemon: (await memoryOf(containerd.pid)).pss,
    shims: await shimsOf(at),
  })
  const before = await held()
  await mapLimited(IDS, AT_ONCE, AbortSignal.timeout(600_000), (id) => runner.start(id))
  const after = await held()
  await mapLimited(IDS, AT_ONCE, AbortSignal.timeout(600_000), (id) => runner.remove(id))
  return { before, after }
}

async function shimsOf({ dir, state }: { dir: string; state: string }): Promise<number> {
  const { processes } = await findLeftovers(dir, state)
  let sum = 0
  for (const { pid, what } of processes) if (what.includes('containerd-shim')) sum += (await memoryOf(pid)).pss
  return sum
}
