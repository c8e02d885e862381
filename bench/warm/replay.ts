import { setTimeout as delay } from 'node:timers/promises'
import { startNode } from '../../test/support/daemon.ts'
import { arrivals } from '../support/arrivals.ts'
import { BenchPool } from '../support/pools.ts'
import { Api } from '../support/purser.ts'
import type { Found } from '../support/scenario.ts'
import { quantile } from '../support/statistics.ts'
import { workDir } from '../support/work-dir.ts'

const TRACE = { seed: 2026, durationMs: 90_000, quietRate: 1, burstRate: 12, quietMs: 9000, burstMs: 2000 }
/** How long a call keeps its task. */
const HOLD_MS = 250
const SHARES = [0.5, 0.95, 0.99] as const

interface Lease {
  id: string
  isWarm: boolean
}

/** The same calls, at the same moments, with a pool and without. */
export async function replay(image: string): Promise<Found> {
  const moments = arrivals(TRACE)
  const pooled = await replayed(image, moments, async (api) => {
    const pool = await BenchPool.create(api, 'replay', image, { min: 2, max: 24, hitRatio: 0.95 })
    return {
      take: async (): Promise<Lease> => {
        const { id, start } = await pool.claim()
        return { id, isWarm: start === 'warm' }
      },
      give: (id) => pool.release(id),
      end: () => pool.delete(),
    }
  })
  let at = 0
  const without = await replayed(image, moments, async (api) => ({
    take: async (): Promise<Lease> => ({
      id: await api.execute('container.run', `r${at++}`, { image, options: { args: ['sleep', '1000'] } }),
      isWarm: false,
    }),
    give: (id) => api.execute('container.remove', id, { running: 'kill' }),
    end: async () => {},
  }))
  const warm = pooled.leases.filter(({ isWarm }) => isWarm).length
  return {
    method: `Replay: ${moments.length} calls in ${TRACE.durationMs / 1000} s, at random moments with a fixed seed: ${TRACE.quietRate} a second, and ${TRACE.burstRate} a second in
bursts of ${TRACE.burstMs / 1000} s that come every ${(TRACE.quietMs + TRACE.burstMs) / 1000} s on average; each keeps its task for ${HOLD_MS} ms. Once by claims
of a pool that sizes itself between 2 and 24 for a hit ratio of 0.95, once by container.run.`,
    measures: [
      { what: 'bursty calls, found a ready task', unit: 'share', purser: warm / pooled.leases.length },
      ...SHARES.flatMap((share) =>
        [['with a pool', pooled.latencies] as const, ['without', without.latencies] as const].map(
          ([how, latencies]) => ({
            what: `bursty calls, p${share * 100}, ${how}`,
            unit: 'ms',
            purser: quantile(latencies, share),
          }),
        ),
      ),
    ],
    samples: {
      'with a pool: p50, p90, p99, longest': [0.5, 0.9, 0.99, 1].map((share) => quantile(pooled.latencies, share)),
      'without: p50, p90, p99, longest': [0.5, 0.9, 0.99, 1].map((share) => quantile(without.latencies, share)),
    },
  }
}

interface Way {
  take: () => Promise<Lease>
  give: (id: string) => Promise<unknown>
  end: () => Promise<unknown>
}

async function replayed(
  image: string,
  moments: readonly number[],
  begin: (api: Api) => Promise<Way>,
): Promise<{ latencies: number[]; leases: Lease[] }> {
  await using work = await workDir()
  await using node = await startNode({ parent: work.path })
  using api = new Api(node)
  await api.execute('image.pull', image)
  const way = await begin(api)
  const latencies: number[] = []
  const leases: Lease[] = []
  const begunAt = performance.now()
  await Promise.all(
    moments.map(async (moment) => {
      await delay(moment - (performance.now() - begunAt))
      const before = performance.now()
      const lease = await way.take()
      latencies.push(performance.now() - before)
      leases.push(lease)
      await delay(HOLD_MS)
      await way.give(lease.id)
    }),
  )
  await way.end()
  return { latencies, leases }
}
