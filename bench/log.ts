import { mkdir, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { pino } from 'pino'
import { z } from 'zod'
import { Archive } from '../src/archive/archive.ts'
import { nodeSigner } from '../src/archive/node-key.ts'
import { verifierOf } from '../src/archive/note.ts'
import { verifyArchive } from '../src/archive/verify.ts'
import { aggregates } from '../src/commands/index.ts'
import { archiveDir, nodeKeyPath, statesDir } from '../src/daemon/books.ts'
import { Documents } from '../src/log/documents.ts'
import { logKeys } from '../src/log/keys.ts'
import { StateSnapshots } from '../src/log/state-snapshots.ts'
import type { StoredEvent } from '../src/model/event.ts'
import { startNode, type TestNode } from '../test/support/daemon.ts'
import { startTestRedis } from '../test/support/redis.ts'
import { appendTimes } from './support/appends.ts'
import { GrowingArchive, SNAPSHOT_EVENTS } from './support/archived.ts'
import { auditTimes } from './support/audit-rows.ts'
import { Chance } from './support/chance.ts'
import { startCommands } from './support/commands.ts'
import { memoryOf } from './support/memory.ts'
import { Api } from './support/purser.ts'
import { type Measure, writeResult } from './support/result.ts'
import { median, quantile, timed } from './support/statistics.ts'
import { workDir } from './support/work-dir.ts'

const EVENTS = 1_000_000
/** What the daemon's memory at all of them is compared with: as many ended commands are in its state by then. */
const FEW_EVENTS = 100_000
const ROWS = 1_000_000
const FOLDED = 200_000
const MOMENTS = 20
/** The daemon gives memory back after some seconds without work. */
const SETTLE_MS = 15_000

const appends = await appendTimes()
const measures: Measure[] = appends.byCallers.flatMap(({ callers, eventsPerSecond, p50, p99 }) => [
  { what: `append, ${callers} at once, p50`, unit: 'ms', purser: p50 },
  { what: `append, ${callers} at once, p99`, unit: 'ms', purser: p99 },
  { what: `events appended, ${callers} at once`, unit: '1/s', purser: eventsPerSecond },
])
measures.push(
  {
    what: 'events appended while they are sealed, share of those without',
    unit: '',
    purser: appends.sealing.share,
  },
  { what: 'append while events are sealed, 64 at once, p99', unit: 'ms', purser: appends.sealing.p99With },
  { what: 'append while none are sealed, 64 at once, p99', unit: 'ms', purser: appends.sealing.p99Without },
  { what: 'event in Redis', unit: 'bytes', purser: appends.redisBytesPerEvent },
)

await using work = await workDir()
await using server = await startTestRedis()
const redis = new Redis(server.url)
const prefix = basename(server.keyPrefix, ':')
await using node = await startNode({
  parent: work.path,
  config: `node = "bench"\n[redis]\nurl = "unix:${server.url}"\nprefix = "${prefix}"`,
  expectLeftovers: true, // Removing its records one by one takes long.
})
await node.stop()
const keys = logKeys('bench', prefix)
const signer = await nodeSigner(nodeKeyPath(node.root), 'bench')
const logger = pino({ level: 'error' })
const dir = archiveDir(node.root)

const growing = new GrowingArchive()
let archiveBytes = 0

/** Lets a daemon run on an archive of so many events. @returns its resident size in MiB, idle */
async function runOn(events: number): Promise<number> {
  {
    await using archive = await Archive.open(dir, signer)
    const states = { dir: statesDir(node.root), aggregates, every: SNAPSHOT_EVENTS, logger }
    await growing.growTo(events, archive, await StateSnapshots.open(states))
    archiveBytes = await archive.bytes()
  }
  await rm(join(node.root, 'projections'), { recursive: true, force: true })
  await growing.putInto(redis, keys)
  await node.restart()
  await caughtUp(node, growing.documents.head)
  await node.restart() // What an idle daemon holds, not what the folding of the projections left.
  await delay(SETTLE_MS)
  return (await memoryOf(node.pid)).rss
}

async function caughtUp(on: TestNode, head: number): Promise<void> {
  const projections = z.object({ items: z.array(z.object({ checkpoint: z.int() })) })
  for (;;) {
    const { items } = projections.parse((await on.http('GET', '/v1/projections')).json)
    if (items.every(({ checkpoint }) => checkpoint >= head)) return
    await delay(200)
  }
}

const memoryAtFew = await runOn(FEW_EVENTS)
const memory = await runOn(EVENTS)
measures.push(
  {
    what: 'event in the archive',
    unit: 'bytes',
    purser: archiveBytes / EVENTS,
    budget: { atMost: 60 },
  },
  { what: 'event, as JSON', unit: 'bytes', purser: growing.bytes / EVENTS },
  { what: 'events sealed', unit: '1/s', purser: (EVENTS / growing.sealingMs) * 1000 },
  { what: `daemon with ${FEW_EVENTS} archived events, resident`, unit: 'MiB', purser: memoryAtFew },
  { what: `daemon with ${EVENTS} archived events, resident`, unit: 'MiB', purser: memory },
)

// Where the fold from the nearest snapshot is longest, and at chance.
const chance = new Chance(7)
const worst = Array.from({ length: EVENTS / SNAPSHOT_EVENTS }, (_, at) => (at + 1) * SNAPSHOT_EVENTS - 1)
const moments = [...worst, ...Array.from({ length: MOMENTS }, () => 1 + chance.below(EVENTS))]
using api = new Api(node)
const states: number[] = []
for (const position of moments) {
  const took = await timed(async () => {
    const [status, body] = await api.ask('GET', `/v1/state?at=${position}&aggregate=container`)
    if (status !== 200) throw new Error(body)
  })
  states.push(took)
}
measures.push(
  { what: 'state at a moment, at chance', unit: 'ms', purser: median(states.slice(worst.length)) },
  { what: 'state at a moment, the slowest', unit: 'ms', purser: Math.max(...states), budget: { atMost: 2000 } },
)
await node.kill9()
redis.disconnect()

const verification = await timed(async () => {
  const { fault, events } = await verifyArchive({ dir, verifier: verifierOf(signer) })
  if (fault !== undefined || events !== EVENTS) throw new Error(JSON.stringify({ fault, events }))
})
measures.push({
  what: 'events verified',
  unit: '1/s',
  purser: (EVENTS / verification) * 1000,
  budget: { atLeast: 100_000 },
})

const lines: string[] = []
await using archive = await Archive.open(dir, signer)
for await (const { line } of archive.read(0, FOLDED)) lines.push(line.toString())
const folded: number[] = []
for (let run = 0; run < 5; run += 1) {
  const documents = new Documents(aggregates)
  const took = await timed(async () => {
    for (const line of lines) documents.apply(JSON.parse(line) as StoredEvent) // Our own, just written.
  })
  folded.push((lines.length / took) * 1000)
}
measures.push({
  what: 'events of the run mix folded',
  unit: '1/s',
  purser: median(folded),
  budget: { atLeast: 200_000 },
})

const auditDir = join(work.path, 'audit')
await mkdir(auditDir)
const trail = await auditTimes(auditDir, ROWS)
const pages = trail.questions.map(({ medianMs }) => medianMs)
const slowest = trail.questions.toSorted((a, b) => b.medianMs - a.medianMs)[0]
measures.push(
  { what: 'events folded into the audit trail', unit: '1/s', purser: trail.eventsPerSecond },
  { what: `page of ${trail.rows} audit rows, median question`, unit: 'ms', purser: median(pages) },
  {
    what: `page of ${trail.rows} audit rows, slowest question: ${slowest?.what}`,
    unit: 'ms',
    purser: slowest?.medianMs ?? Number.NaN,
    budget: { atMost: 50 },
  },
)

await using commands = await startCommands(512)
await commands.many(1000, 1)
const alone = await commands.many(1000, 1)
measures.push(
  {
    what: 'command with no effect, one at a time, p50',
    unit: 'ms',
    purser: quantile(alone, 0.5),
    budget: { atMost: 3 },
  },
  { what: 'command with no effect, one at a time, p99', unit: 'ms', purser: quantile(alone, 0.99) },
)

writeResult('log', {
  title: 'The log at a million events',
  method: `Events are a run mix of a fixed seed (bench/support/run-mix.ts: of a hundred jobs 80 run to completion and are removed, 8 are
services, 5 fail, 4 pull, 3 are refused). Appends: through the daemon's own log, as many events at once as each job writes at once, on a Redis with
appendfsync always on disk; with a sealer beside them in alternate windows. Archive: ${EVENTS} events sealed by the daemon's own code in segments of
its default size, not through Redis. Memory: a daemon started on that archive, its projections folded before, idle for ${SETTLE_MS / 1000} s; with
${FEW_EVENTS} events its state holds as much. State: GET /v1/state at ${MOMENTS} positions by chance and at the ${worst.length} that are
farthest from the snapshot before. A fold never passes more than ${SNAPSHOT_EVENTS} events, whatever the log's length: at ten million
only the halving among segments, which are named by position, has three steps more. Audit: a store of its own with ${ROWS} rows, pages of 100,
${trail.questions.length} questions 15 times each; medians of each. Verified: all of the archive, in one thread.`,
  measures,
  samples: {
    'ms of each moment': states,
    'events folded each second': folded,
    ...Object.fromEntries(trail.questions.map(({ what, medianMs, worstMs }) => [`page, ${what}`, [medianMs, worstMs]])),
  },
})
