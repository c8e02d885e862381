import { Redis } from 'ioredis'
import { aggregates } from '../src/commands/index.ts'
import { Documents } from '../src/log/documents.ts'
import { EventLog } from '../src/log/event-log.ts'
import { logKeys } from '../src/log/keys.ts'
import { rebuildState } from '../src/log/rebuild.ts'
import type { StoredEvent } from '../src/model/event.ts'
import { Intake } from '../src/queue/intake.ts'
import { Outcomes } from '../src/queue/outcomes.ts'
import { startTestRedis } from '../test/support/redis.ts'
import { writeResult } from './support/result.ts'
import { median, timed } from './support/statistics.ts'

const COMMANDS = 50_000 // three events each
const AT_ONCE = 128
const RUNS = 7
const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`

await using server = await startTestRedis()
const redis = new Redis(server.url)
const log = await EventLog.open({ redis, keys: logKeys('bench', server.keyPrefix), node: 'bench', aggregates })
const intake = new Intake(log, new Outcomes(log), () => false)
let at = 0
const caller = async () => {
  while (at < COMMANDS) {
    const id = `c${at++}`
    const payload = {
      ...{ image: 'docker.io/library/busybox:latest', manifest: DIGEST, config: DIGEST, runtime: 'runc' },
      ...{ snapshotter: 'overlayfs', snapshotKey: id, options: { args: ['true'] }, labels: {}, onExit: 'keep' },
    }
    await intake.submit({ type: 'container.create', subject: id, payload }, { actor: 'unix:uid=0,gid=0,pid=1' })
  }
}
await Promise.all(Array.from({ length: AT_ONCE }, caller))
const events = log.head

async function rates(fold: () => Promise<void>): Promise<number[]> {
  const rates: number[] = []
  for (let run = 0; run < RUNS; run += 1) rates.push((events / (await timed(fold))) * 1000)
  return rates
}

const lines: string[] = []
for await (const { line } of log.readLines(0)) lines.push(line.toString())
const folded = await rates(async () => {
  const documents = new Documents(aggregates)
  for (const line of lines) documents.apply(JSON.parse(line) as StoredEvent) // our own, just written
})
const read = await rates(async () => {
  const documents = new Documents(aggregates)
  for await (const event of log.read(0)) documents.apply(event)
})
const checked = await rates(async () => {
  const check = await rebuildState(log, redis, aggregates, 'check')
  if (check.differences.length > 0) throw new Error(JSON.stringify(check.differences[0]))
})
redis.disconnect()

writeResult('fold', {
  title: 'Fold of the log',
  method: `${events} events (command.accepted, container.created, command.succeeded) of ${(events / COMMANDS) | 0} for each command; ${RUNS} runs each, medians. Folded:
lines in memory, parsed and evolved into documents. Read: the same from Redis, over a Unix socket. Checked: what
\`purser state rebuild --check\` does, which also compares every document with the stored one.`,
  measures: [
    { what: 'events folded', unit: '1/s', purser: median(folded), budget: { atLeast: 200_000 } },
    { what: 'events read from Redis and folded', unit: '1/s', purser: median(read) },
    { what: 'events read, folded and compared with the stored state', unit: '1/s', purser: median(checked) },
  ],
  samples: { folded, read, checked },
})
