import { Redis } from 'ioredis'
import { pino } from 'pino'
import { aggregates } from '../src/commands/index.ts'
import { snapshot } from '../src/commands/snapshot.ts'
import { EventLog } from '../src/log/event-log.ts'
import { logKeys } from '../src/log/keys.ts'
import { handlersFor } from '../src/queue/handler.ts'
import { Harness } from '../src/queue/harness.ts'
import { Intake } from '../src/queue/intake.ts'
import { Outcomes } from '../src/queue/outcomes.ts'
import { Relay } from '../src/queue/relay.ts'
import { startTestRedis } from '../test/support/redis.ts'
import { writeResult } from './support/result.ts'
import { quantile, timed } from './support/statistics.ts'

const ALONE = 2000
const CALLERS = 64
const TOGETHER = 20_000
const WARM_UP = 2000
const TYPE = 'snapshot.remove'

await using server = await startTestRedis({ fsync: 'always' })
const connect = () => new Redis(server.url, { maxRetriesPerRequest: null })
const redis = connect()
const logger = pino({ level: 'error' })
const log = await EventLog.open({ redis, keys: logKeys('bench', server.keyPrefix), node: 'bench', aggregates })
const outcomes = new Outcomes(log)
const intake = new Intake(log, outcomes, (type) => type === TYPE)
const handlers = [handlersFor<object>()(snapshot, TYPE, async () => ({ facts: [] }))]
const harness = new Harness({ log, intake, outcomes, handlers, effects: {}, logger })
const lanes = [{ kind: 'snapshot', concurrency: CALLERS, types: [TYPE] }]
const relay = new Relay({ log, harness, lanes, connect, prefix: `${server.keyPrefix}queue`, logger })
await relay.start()

let at = 0
const one = () =>
  timed(async () => {
    const request = { type: TYPE, subject: `overlayfs/s${at++}` }
    const ended = await intake.execute(request, { actor: 'bench' }, AbortSignal.timeout(60_000))
    if (ended.status !== 'succeeded') throw new Error(JSON.stringify(ended))
  })
/** @returns milliseconds of each */
async function many(count: number, callers: number): Promise<number[]> {
  const times: number[] = []
  const caller = async () => {
    while (times.length < count) times.push(await one())
  }
  await Promise.all(Array.from({ length: callers }, caller))
  return times
}

await many(WARM_UP, 1)
const alone = await many(ALONE, 1)
await many(WARM_UP, CALLERS)
let together: number[] = []
const totalMs = await timed(async () => {
  together = await many(TOGETHER, CALLERS)
})
await harness.stop()
await relay.stop()
redis.disconnect()

writeResult('no-effect', {
  title: 'A command through the queue that does nothing on the host',
  method: `The daemon's own log, intake, relay, BullMQ worker and harness in one process, on a Redis with appendfsync always on
disk; the handler returns at once. From the request until its outcome is in the log: command.accepted, command.started and
command.succeeded are three appends, each fsynced. ${ALONE} one at a time, then ${TOGETHER} by ${CALLERS} callers, after warming up.`,
  measures: [
    { what: 'command through the queue, p50', unit: 'ms', purser: quantile(alone, 0.5), budget: { atMost: 3 } },
    { what: 'command through the queue, p99', unit: 'ms', purser: quantile(alone, 0.99) },
    {
      what: `commands through the queue, ${CALLERS} callers`,
      unit: '1/s',
      purser: (together.length / totalMs) * 1000,
      budget: { atLeast: 5000 },
    },
    { what: `command through the queue, ${CALLERS} callers, p50`, unit: 'ms', purser: quantile(together, 0.5) },
  ],
  samples: {
    'alone, percentiles 1 to 99': [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99].map((share) => quantile(alone, share)),
    'together, percentiles 1 to 99': [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99].map((share) => quantile(together, share)),
  },
})
