import { generateKeyPairSync } from 'node:crypto'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { pino } from 'pino'
import { Archive } from '../../src/archive/archive.ts'
import { aggregates } from '../../src/commands/index.ts'
import { EventLog } from '../../src/log/event-log.ts'
import { logKeys } from '../../src/log/keys.ts'
import { Sealer } from '../../src/log/sealer.ts'
import { StateSnapshots } from '../../src/log/state-snapshots.ts'
import { startTestRedis } from '../../test/support/redis.ts'
import { SEGMENT_EVENTS, SNAPSHOT_EVENTS } from './archived.ts'
import { runMix } from './run-mix.ts'
import { median, quantile } from './statistics.ts'

const CALLERS = [1, 8, 64, 256] as const
const WINDOW_MS = 3000
const SEAL_ROUNDS = 3

/** Appends of one window of time. */
interface Window {
  eventsPerSecond: number
  p50: number
  p99: number
}

export interface AppendTimes {
  byCallers: (Window & { callers: number })[]
  /** Events each second while they are sealed, as a share of those without; the p99 with and without. */
  sealing: { share: number; p99With: number; p99Without: number; sealed: number }
  redisBytesPerEvent: number
}

/** Has the run mix appended by several callers at once, on a Redis that fsyncs each time. */
export async function appendTimes(): Promise<AppendTimes> {
  await using server = await startTestRedis({ fsync: 'always' })
  const redis = new Redis(server.url)
  const dir = await mkdtemp(join(tmpdir(), 'sealed-'))
  await using archive = await Archive.open(join(dir, 'log'), {
    name: 'purser/nodes/bench',
    key: generateKeyPairSync('ed25519').privateKey,
  })
  const keys = logKeys('bench', server.keyPrefix)
  const log = await EventLog.open({ redis, keys, node: 'bench', aggregates, sealed: archive })
  const logger = pino({ level: 'error' })
  const snapshots = await StateSnapshots.open({ dir: join(dir, 'states'), aggregates, every: SNAPSHOT_EVENTS, logger })
  let seed = 100
  const window = async (callers: number): Promise<Window> => {
    const times: number[] = []
    const before = log.head
    const begunAt = performance.now()
    const caller = async (own: number) => {
      for (const { facts, namespace, cause } of runMix(own, Date.now(), [`ci-${own}`])) {
        const at = performance.now()
        if (at - begunAt > WINDOW_MS) return
        await log.record(facts, namespace, cause)
        times.push(performance.now() - at)
      }
    }
    await Promise.all(Array.from({ length: callers }, () => caller(seed++)))
    const eventsPerSecond = ((log.head - before) / (performance.now() - begunAt)) * 1000
    return { eventsPerSecond, p50: quantile(times, 0.5), p99: quantile(times, 0.99) }
  }

  await window(64) // warm
  const byCallers = []
  for (const callers of CALLERS) byCallers.push({ callers, ...(await window(callers)) })
  const stream = Number(await redis.call('MEMORY', 'USAGE', keys.events, 'SAMPLES', '0'))
  const redisBytesPerEvent = stream / log.head

  const sealer = () =>
    new Sealer({
      ...{ log, archive, snapshots, redis, segmentEvents: SEGMENT_EVENTS, segmentBytes: 64 * 1024 * 1024 },
      ...{ segmentAgeMs: 3_600_000, tailEvents: 10_000, tailAgeMs: 86_400_000, logger },
    })
  const shares: number[] = []
  const [p99With, p99Without]: [number[], number[]] = [[], []]
  let sealed = 0
  for (let round = 0; round < SEAL_ROUNDS; round += 1) {
    await sealer().seal() // What came before is not to be sealed in a window.
    const alone = await window(64)
    await sealer().seal()
    const before = archive.last
    const sealing = sealer()
    sealing.start()
    const meanwhile = await window(64)
    await sealing.stop()
    sealed += archive.last - before
    shares.push(meanwhile.eventsPerSecond / alone.eventsPerSecond)
    p99With.push(meanwhile.p99)
    p99Without.push(alone.p99)
  }
  redis.disconnect()
  return {
    byCallers,
    redisBytesPerEvent,
    sealing: { share: median(shares), p99With: median(p99With), p99Without: median(p99Without), sealed },
  }
}
