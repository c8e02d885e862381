import { startNode } from '../../test/support/daemon.ts'
import { findLeftovers } from '../../test/support/leftovers.ts'
import { memoryOf } from '../support/memory.ts'
import { BenchPool } from '../support/pools.ts'
import { Api } from '../support/purser.ts'
import type { Found } from '../support/scenario.ts'
import { median, quantile, timed } from '../support/statistics.ts'
import { workDir } from '../support/work-dir.ts'

const SIZE = 64
const CALLERS = [1, 8, 64] as const
const ROUNDS = 5
/** The first round starts with code that nothing has run yet. */
const WARM_UP_ROUNDS = 1

/** Claims of tasks that are ready, by so many callers at once, and what it costs to have them ready. */
export async function claims(image: string): Promise<Found> {
  await using work = await workDir()
  await using node = await startNode({ parent: work.path })
  using api = new Api(node)
  await api.execute('image.pull', image)
  const daemonBefore = (await memoryOf(node.pid)).pss
  const pool = await BenchPool.create(api, 'claims', image, { min: SIZE })
  const found: Found = {
    method: `Claims: a pool of ${SIZE} tasks that wait on their FIFO; 1, 8 or 64 callers at once take all of it, each one claim after the
other over connections that stay open, while it is already being refilled; ${ROUNDS} rounds each. Refill: from the last claim until all are
ready again, with the tasks that were claimed still there. Memory: proportional set size of the frozen processes and their shims, and what
the daemon has grown by.`,
    measures: [],
    samples: {},
  }
  const { processes } = await findLeftovers(node.dir, node.state)
  const own = new Set([node.pid, ...processes.filter(({ what }) => what.includes('redis')).map(({ pid }) => pid)])
  let bytes = 0
  for (const { pid } of processes) if (!own.has(pid)) bytes += (await memoryOf(pid)).pss
  found.measures.push(
    { what: 'memory of an idle task of a pool, with its shim', unit: 'MiB', purser: bytes / SIZE },
    {
      what: 'memory of the daemon for each idle task',
      unit: 'MiB',
      purser: ((await memoryOf(node.pid)).pss - daemonBefore) / SIZE,
    },
  )
  const refills: number[] = []
  for (const callers of CALLERS) {
    const latencies: number[] = []
    for (let round = -WARM_UP_ROUNDS; round < ROUNDS; round++) {
      const taken: string[] = []
      const samples: number[] = []
      await Promise.all(
        Array.from({ length: callers }, async () => {
          for (let at = 0; at < SIZE / callers; at++) {
            samples.push(
              await timed(async () => {
                const { id, start } = await pool.claim()
                if (start !== 'warm') throw new Error(`${id} was started cold`)
                taken.push(id)
              }),
            )
          }
        }),
      )
      const refillMs = await timed(() => pool.filled(SIZE))
      for (const id of taken) await pool.release(id)
      if (round < 0) continue
      latencies.push(...samples)
      refills.push((1000 * SIZE) / refillMs)
    }
    const what = `claim of a ready task, ${callers === 1 ? 'one caller' : `${callers} callers at once`}`
    // The budget is that of a call: what many at once wait for each other is told beside it.
    const budget = (atMost: number) => (callers === 1 ? { budget: { atMost } } : {})
    found.measures.push(
      { what: `${what}, p50`, unit: 'ms', purser: median(latencies), ...budget(5) },
      { what: `${what}, p99`, unit: 'ms', purser: quantile(latencies, 0.99), ...budget(20) },
    )
    found.samples[`${what}: p50, p90, p99, longest`] = [0.5, 0.9, 0.99, 1].map((share) => quantile(latencies, share))
  }
  found.measures.push({ what: 'refill of a pool', unit: 'tasks/s', purser: median(refills) })
  await pool.delete()
  return found
}
