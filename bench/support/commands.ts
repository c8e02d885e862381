import { Redis } from 'ioredis'
import { pino } from 'pino'
import { aggregates } from '../../src/commands/index.ts'
import { snapshot } from '../../src/commands/snapshot.ts'
import { EventLog } from '../../src/log/event-log.ts'
import { logKeys } from '../../src/log/keys.ts'
import { handlersFor } from '../../src/queue/handler.ts'
import { Harness } from '../../src/queue/harness.ts'
import { Intake } from '../../src/queue/intake.ts'
import { Outcomes } from '../../src/queue/outcomes.ts'
import { Relay } from '../../src/queue/relay.ts'
import { startTestRedis } from '../../test/support/redis.ts'
import { timed } from './statistics.ts'

const TYPE = 'snapshot.remove'

/** The daemon's own log, intake, relay, queue and harness, with a handler that returns at once. @param places of its worker */
export async function startCommands(places: number) {
  const server = await startTestRedis({ fsync: 'always' })
  const connect = () => new Redis(server.url, { maxRetriesPerRequest: null })
  const redis = connect()
  const logger = pino({ level: 'error' })
  const log = await EventLog.open({ redis, keys: logKeys('bench', server.keyPrefix), node: 'bench', aggregates })
  const outcomes = new Outcomes(log)
  const intake = new Intake(log, outcomes, (type) => type === TYPE)
  const handlers = [handlersFor<object>()(snapshot, TYPE, async () => ({ facts: [] }))]
  const harness = new Harness({ log, intake, outcomes, handlers, effects: {}, logger })
  const lanes = [{ kind: 'snapshot', concurrency: places, types: [TYPE] }]
  const relay = new Relay({ log, intake, harness, lanes, connect, prefix: `${server.keyPrefix}queue`, logger })
  await relay.start()

  let at = 0
  const one = () =>
    timed(async () => {
      const request = { type: TYPE, subject: `overlayfs/s${at++}` }
      const ended = await intake.execute(request, { actor: 'bench' }, AbortSignal.timeout(60_000))
      if (ended.status !== 'succeeded') throw new Error(JSON.stringify(ended))
    })
  return {
    pid: server.pid,
    /** From the request until its outcome is in the log. @returns milliseconds of each */
    async many(count: number, callers: number): Promise<number[]> {
      const times: number[] = []
      const caller = async () => {
        while (times.length < count) times.push(await one())
      }
      await Promise.all(Array.from({ length: callers }, caller))
      return times
    },
    async [Symbol.asyncDispose]() {
      await harness.stop()
      await relay.stop()
      redis.disconnect()
      await server[Symbol.asyncDispose]()
    },
  }
}
