import { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import { pino } from 'pino'
import { command, type EndedCommand, isEnded } from '../../src/commands/command.ts'
import { aggregates } from '../../src/commands/index.ts'
import { EventLog } from '../../src/log/event-log.ts'
import { logKeys } from '../../src/log/keys.ts'
import type { CommandRequest } from '../../src/model/command.ts'
import type { StoredEvent } from '../../src/model/event.ts'
import { type Handler, handlersFor } from '../../src/queue/handler.ts'
import { Harness } from '../../src/queue/harness.ts'
import { Intake } from '../../src/queue/intake.ts'
import { Outcomes } from '../../src/queue/outcomes.ts'
import { Relay } from '../../src/queue/relay.ts'
import { startTestRedis } from './redis.ts'

/** Ties the handlers of a test to commands that there are. */
export const defineTestHandler = handlersFor<unknown>()

export const ACTOR = { actor: 'unix:uid=0,gid=0,pid=17' }
const LANE = 'work'

export interface QueueOptions {
  handlers: readonly Handler<unknown>[]
  concurrency?: number
  sweepMs?: number
}

/** What a daemon has between its API and its workers, on a Redis of its own, with handlers of the test's. */
export async function startQueue(options: QueueOptions) {
  const server = await startTestRedis()
  const keys = logKeys('test', server.keyPrefix)
  const prefix = `${server.keyPrefix}-queue`
  const connections: Redis[] = []
  // As the daemon does: what waits for jobs waits for ever, what callers wait for fails at once.
  const connect = (blocking: 'blocking' | 'calls') => {
    const patience =
      blocking === 'blocking' ? { maxRetriesPerRequest: null } : { maxRetriesPerRequest: 0, enableOfflineQueue: false }
    const redis = new Redis(server.url, { ...patience, lazyConnect: true, retryStrategy: (times) => times * 5 })
    redis.on('error', () => {}) // A test that breaks connections means it.
    connections.push(redis)
    return redis
  }
  const redis = connect('blocking')
  const started: Part[] = []
  const start = async (more: Partial<QueueOptions> = {}): Promise<Part> => {
    const part = await startPart({ ...options, ...more }, { connect, keys, prefix })
    started.push(part)
    return part
  }
  const bull = new Queue(`${LANE}.{test}`, { connection: connect('blocking'), prefix, skipVersionCheck: true })
  return {
    redis,
    keys,
    /** The queue itself, for tests that do to it what may happen to it. */
    bull,
    server,
    /** One more daemon on these books; the one before can write nothing more. */
    start,
    async [Symbol.asyncDispose]() {
      for (const part of started) await part.stop()
      await bull.close()
      for (const connection of connections) connection.disconnect()
      await server[Symbol.asyncDispose]()
    },
  }
}

export type Part = Awaited<ReturnType<typeof startPart>>

interface Books {
  connect: (blocking: 'blocking' | 'calls') => Redis
  keys: ReturnType<typeof logKeys>
  prefix: string
}

async function startPart({ handlers, concurrency = 8, sweepMs }: QueueOptions, { connect, keys, prefix }: Books) {
  const logger = pino({ level: 'silent' })
  const redis = connect('calls')
  await redis.connect()
  const log = await EventLog.open({ redis, keys, node: 'test', aggregates })
  const types = handlers.map(({ type }) => type)
  const outcomes = new Outcomes(log)
  const intake = new Intake(log, outcomes, (type) => types.includes(type))
  const harnessOn = (own: readonly Handler<unknown>[]) =>
    new Harness({ log, intake, outcomes, handlers: own, effects: undefined, logger })
  const harness = harnessOn(handlers)
  const lanes = [{ kind: LANE, concurrency, types }]
  const relay = new Relay({
    log,
    intake,
    harness,
    lanes,
    connect: () => connect('blocking'),
    prefix,
    logger,
    ...(sweepMs === undefined ? {} : { sweepMs }),
  })
  let state: 'new' | 'running' | 'stopped' = 'new'
  return {
    log,
    intake,
    outcomes,
    harness,
    relay,
    /** Another harness on the same log: an attempt of its own, as a worker makes that got the job too. */
    harnessOn,
    async run() {
      state = 'running'
      await relay.start()
    },
    async stop() {
      if (state === 'stopped') return
      state = 'stopped'
      await harness.stop()
      await relay.stop()
    },
    submit: async (request: CommandRequest) => await intake.submit(request, ACTOR),
    /** Waits for the outcome. @throws DOMException TimeoutError after 20 s */
    async ended({ id, namespace }: { id: string; namespace: string }): Promise<EndedCommand> {
      return await outcomes.wait(namespace, id, AbortSignal.timeout(20_000))
    },
    status(accepted: { id: string; namespace: string }) {
      return log.documents.get(command, accepted.namespace, accepted.id)
    },
    hasEnded: (accepted: { id: string; namespace: string }) =>
      isEnded(log.documents.get(command, accepted.namespace, accepted.id)),
    async events(): Promise<StoredEvent[]> {
      return await Array.fromAsync(log.read(0))
    },
    /** Types of all events about a subject. */
    async typesOf(subject: string): Promise<string[]> {
      const events = await Array.fromAsync(log.read(0))
      return events.filter((event) => event.subject === subject).map(({ type }) => type)
    },
  }
}

/** Resolves when an event comes that a test waits for, also if it has come already. */
export async function eventually(part: Part, holds: (event: StoredEvent) => boolean): Promise<StoredEvent> {
  for await (const event of part.log.subscribe(0, AbortSignal.timeout(20_000))) if (holds(event)) return event
  throw new Error('the event did not come within 20 s')
}
