/**
 * A daemon's books alone, in a process to be killed: appends events and seals them in small segments, as fast as it can.
 *
 *   sealing-process.ts {"redis", "prefix", "dir", "events"}
 *
 * Writes `ready`, then the position of each append that was acknowledged; ends when so many events are sealed. Event N is about
 * `request/nN`, so that one that is lost, doubled or moved is seen.
 */
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { pino } from 'pino'
import { z } from 'zod'
import { Archive } from '../../src/archive/archive.ts'
import { nodeSigner } from '../../src/archive/node-key.ts'
import { aggregates } from '../../src/commands/index.ts'
import { EventLog } from '../../src/log/event-log.ts'
import { HeadWitness, headWitnessPath } from '../../src/log/head-witness.ts'
import { logKeys } from '../../src/log/keys.ts'
import { Sealer } from '../../src/log/sealer.ts'
import { StateSnapshots } from '../../src/log/state-snapshots.ts'
import { spontaneous } from '../../src/model/event.ts'

const APPENDED_AT_ONCE = 60
const SEGMENT_EVENTS = 40
const TAIL_EVENTS = 100

const options = z.strictObject({ redis: z.string(), prefix: z.string(), dir: z.string(), events: z.int() })
const { redis: url, prefix, dir, events } = options.parse(JSON.parse(process.argv[2] ?? ''))
const redis = new Redis(url)
const logger = pino({ level: 'silent' })
const archive = await Archive.open(dir, await nodeSigner(join(dir, 'key.pem'), 'test'))
const witness = HeadWitness.open(headWitnessPath(dir))
const log = await EventLog.open({
  redis,
  keys: logKeys('test', prefix),
  node: 'test',
  aggregates,
  sealed: archive,
  witness,
})
const snapshots = await StateSnapshots.open({ dir: join(dir, 'states'), aggregates, every: 1000, logger })
const sealer = new Sealer({
  ...{ log, archive, snapshots, redis, segmentEvents: SEGMENT_EVENTS, segmentBytes: 1_000_000, logger },
  ...{ segmentAgeMs: 3_600_000, tailEvents: TAIL_EVENTS, tailAgeMs: 3_600_000 },
})

console.log('ready')
const data = { surface: 'http', method: 'GET', target: '/v1/containers', status: 200 }
const append = async () => {
  while (log.head < events) {
    const from = log.head + 1
    const facts = Array.from({ length: APPENDED_AT_ONCE }, (_, index) => {
      return { aggregate: 'request', id: `n${from + index}`, type: 'request.read', data }
    })
    await log.record(facts, 'default', spontaneous('test'))
    console.log(log.head)
  }
}
const appending = append()
while (archive.last < events) await sealer.seal()
await appending
await sealer.seal()
redis.disconnect()
witness[Symbol.dispose]()
await archive[Symbol.asyncDispose]()
