import { randomFillSync } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { startNode } from '../../test/support/daemon.ts'
import { startRegistry, tarLayer } from '../../test/support/registry.ts'
import { startBenchRegistry } from '../support/images.ts'
import { purser } from '../support/purser.ts'
import type { Found } from '../support/scenario.ts'
import { inPairs, median, quantile } from '../support/statistics.ts'
import { apiLatencies, memoryOf, pullWithContainerd, pullWithPurser, TMPFS } from './sides.ts'

const LARGE_BYTES = 2 ** 30
const ROUNDS = 2
const API_ROUNDS = 5
/** What a daemon does after its start, such as to look at its runtimes, is no part of a pull. */
const SETTLE_MS = 3000

/** A layer of 1 GiB, and what pulling costs besides time. */
export async function memory(): Promise<Found> {
  await using many = await startBenchRegistry(['multi:gzip'])
  // Before there is a gigabyte in this process, whose collector would be measured too.
  const latencies: number[][] = []
  for (let round = 0; round < API_ROUNDS; round++)
    latencies.push(await latenciesWhilePulling(many.reference('multi:gzip')))
  const atShare = (share: number) => median(latencies.map((each) => quantile(each, share)))
  await using one = await startRegistry()
  const content = Buffer.allocUnsafe(LARGE_BYTES)
  randomFillSync(content, 0, LARGE_BYTES / 2)
  content.copy(content, LARGE_BYTES / 2, 0, LARGE_BYTES / 2)
  const layers = [await tarLayer([{ name: 'large', content }])]
  const large = await one.pushImage({ repository: 'large', tag: 'latest', layers, compression: 'zstd' })
  layers.length = 0

  const pairs = await inPairs(ROUNDS, {
    purser: () => pullWithPurser(TMPFS, [large.reference]),
    containerd: () => pullWithContainerd(TMPFS, [large.reference]),
  })
  const found: Found = {
    method: `Memory and API: VmHWM of the daemon after the pull, less its VmRSS before; requests that list containers, one after the other while
multi:gzip is pulled, the median of ${API_ROUNDS} pulls by daemons that
had answered such requests for ${SETTLE_MS / 1000} s. The layer of 1 GiB is zstd and cannot be compressed; ${ROUNDS} pairs, on tmpfs.`,
    measures: [
      {
        what: 'one layer of 1 GiB',
        unit: 'ms',
        purser: median(pairs.purser),
        containerd: median(pairs.containerd),
        ratio: pairs.ratio,
      },
      { what: 'API while pulling, p99', unit: 'ms', purser: atShare(0.99), budget: { atMost: 20 } },
    ],
    samples: {
      'purser 1 GiB': pairs.purser,
      'containerd 1 GiB': pairs.containerd,
      'API while pulling, p50, p90, p99 and longest': [0.5, 0.9, 0.99, 1].map(atShare),
    },
  }
  for (const [what, reference] of [
    ['multi:gzip', many.reference('multi:gzip')],
    ['1 GiB', large.reference],
  ] as const) {
    await using node = await startNode({ parent: TMPFS })
    const before = memoryOf(node.pid).now
    await purser(node, 'pull', '--quiet', reference)
    found.measures.push({
      what: `memory over idle while pulling ${what}`,
      unit: 'MiB',
      purser: memoryOf(node.pid).peak - before,
      budget: { atMost: 200 },
    })
  }
  return found
}

async function latenciesWhilePulling(reference: string): Promise<number[]> {
  await using node = await startNode({ parent: TMPFS })
  await apiLatencies(node, delay(SETTLE_MS))
  return await apiLatencies(node, purser(node, 'pull', '--quiet', reference))
}
