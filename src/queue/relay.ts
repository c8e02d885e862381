import { type JobsOptions, Queue, Worker } from 'bullmq'
import type { Redis } from 'ioredis'
import type { Logger } from 'pino'
import { command, isActive } from '../commands/command.ts'
import type { EventLog } from '../log/event-log.ts'
import type { CommandEnvelope } from '../model/command.ts'
import { PurserError } from '../model/errors.ts'
import type { StoredEvent } from '../model/event.ts'
import { sendSpan } from '../tracing/spans.ts'
import { noTracing, type Tracer } from '../tracing/tracer.ts'
import { failure, type Harness } from './harness.ts'
import { causeOf, type Intake } from './intake.ts'
import { Places, type Reservation } from './places.ts'

/** One worker kind: its queue, how many of its commands run at once, which types are its. */
export interface Lane {
  kind: string
  concurrency: number
  types: readonly string[]
  /**
   * Of these, the ones that are attempted as soon as they are accepted, by this process, in no order: their aggregate is
   * not what they change, and their callers count milliseconds.
   */
  immediate?: ReadonlySet<string>
}

export interface RelayOptions {
  log: EventLog
  // biome-ignore lint/suspicious/noExplicitAny: the relay starts attempts, whatever effects they use
  harness: Harness<any>
  /** Is told which commands can begin as they are accepted. */
  intake: Intake
  lanes: readonly Lane[]
  /** Makes a Redis connection; BullMQ wants one a queue and one a worker. */
  connect: () => Redis
  prefix: string
  tracer?: Tracer
  logger: Logger
  /** How often it is looked for commands that wait for long. */
  sweepMs?: number
}

interface Carried {
  envelope: CommandEnvelope
  /** When it was given to the queue, or began; 0 while it has to wait for another one. */
  offeredAt: number
}

const SWEEP_MS = 5000
const AGAIN_MS = 500
const LOCK_MS = 30_000
const SWEEP_MAX = 500

/**
 * Feeds the workers from the log: of each aggregate instance the oldest active command, the next when that one has ended. One
 * that comes while its worker has places free begins there at once; others wait in a queue. What a queue loses is offered again,
 * what it delivers twice the harness takes once.
 */
export class Relay {
  readonly #options: RelayOptions
  readonly #queues = new Map<string, Queue>()
  readonly #workers: Worker[] = []
  readonly #laneOf = new Map<string, Lane>()
  /** Active commands by aggregate instance, in the order they were accepted; the first one is offered. */
  readonly #lines = new Map<string, Carried[]>()
  readonly #byId = new Map<string, { envelope: CommandEnvelope; line: string }>()
  readonly #deadlines = new Map<string, NodeJS.Timeout>()
  /** By lane. */
  readonly #places = new Map<string, Places>()
  /** Aggregate instances of commands that will begin as they are accepted, by the command's id. */
  readonly #reserved = new Map<string, string>()
  readonly #stopping = new AbortController()
  readonly #connections: Redis[] = []
  readonly #sweepMs: number
  #sweeper: NodeJS.Timeout | undefined
  #listening: Disposable | undefined
  /** Once what an earlier daemon left is in the queues, where the most urgent of it goes first. */
  #hasStarted = false

  constructor(options: RelayOptions) {
    this.#options = options
    this.#sweepMs = options.sweepMs ?? SWEEP_MS
    for (const lane of options.lanes) for (const type of lane.types) this.#laneOf.set(type, lane)
  }

  carries(type: string): boolean {
    return this.#laneOf.has(type)
  }

  /** Commands that wait or run, by lane. */
  depth(): Map<string, number> {
    const depth = new Map(this.#options.lanes.map((lane) => [lane.kind, 0]))
    for (const line of this.#lines.values()) {
      for (const { envelope } of line) {
        const kind = this.#laneOf.get(envelope.type)?.kind ?? ''
        depth.set(kind, (depth.get(kind) ?? 0) + 1)
      }
    }
    return depth
  }

  async start(): Promise<void> {
    const { log, intake, lanes, logger, prefix } = this.#options
    for (const lane of lanes) {
      const queue = new Queue(queueName(lane, log.node), {
        connection: this.#connect(),
        prefix,
        skipVersionCheck: true,
      })
      queue.on('error', (err) => logger.debug({ err, lane: lane.kind }, 'queue connection'))
      this.#queues.set(lane.kind, queue)
      // Whatever an earlier daemon left in it: the log says what is to be done.
      await queue.obliterate({ force: true })
    }
    this.#listening = log.listen((event) => this.#applied(event))
    const active = [...log.documents.list(command)].flatMap(({ state }) => (isActive(state) ? [state] : []))
    active.sort((a, b) => (a.command.id < b.command.id ? -1 : 1))
    for (const state of active) {
      this.#carry(state.command)
      if (state.cancelRequested && state.status === 'accepted') this.#cancel(state.command.id)
    }
    if (active.length > 0) logger.info({ commands: active.length }, 'taking up commands that had not ended')
    for (const lane of lanes) this.#workers.push(this.#startWorker(lane))
    this.#hasStarted = true
    intake.beginAtOnce((envelope) => this.#reserve(envelope))
    this.#sweeper = setInterval(() => this.#sweep(), this.#sweepMs)
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    clearInterval(this.#sweeper)
    this.#listening?.[Symbol.dispose]()
    for (const timer of this.#deadlines.values()) clearTimeout(timer)
    const closing = Promise.all([
      ...this.#workers.map((worker) => worker.close(true)),
      ...[...this.#queues.values()].map((queue) => queue.close()),
    ])
    await Promise.race([closing.catch(() => {}), new Promise((resolve) => setTimeout(resolve, 2000).unref())])
    for (const connection of this.#connections) connection.disconnect()
  }

  #connect(): Redis {
    const connection = this.#options.connect()
    connection.on('error', (err) => this.#options.logger.debug({ err }, 'queue connection'))
    connection.on('ready', () => this.#sweep(0))
    this.#connections.push(connection)
    return connection
  }

  #startWorker(lane: Lane): Worker {
    const { log, harness, logger, prefix } = this.#options
    const name = queueName(lane, log.node)
    const worker = new Worker(
      name,
      async (job, _token, lost) => {
        const places = this.#placesOf(lane)
        const { traceparent, ...own } = job.data as { namespace: string; id: string; traceparent?: string }
        let next = own
        try {
          using _ = await places.take(lost)
          // A more urgent one may have come since this job was given out; that one's own job then does for this command.
          const urgent = this.#byId.get(places.next ?? '')?.envelope
          if (urgent && urgent.id !== own.id) next = urgent
          places.waitsNoLonger(next.id)
          const given = next === own ? { traceparent } : {}
          await harness.attempt(next.namespace, next.id, lane.kind, lost ?? new AbortController().signal, given)
        } finally {
          this.#offerAgain(next.id)
        }
      },
      {
        connection: this.#connect(),
        prefix,
        concurrency: lane.concurrency,
        lockDuration: LOCK_MS,
        removeOnComplete: { count: 0 },
        removeOnFail: { count: 0 },
        skipVersionCheck: true,
      },
    )
    worker.on('error', (err) => logger.debug({ err, lane: lane.kind }, 'worker connection'))
    worker.on('failed', (_job, err) => logger.warn({ err, lane: lane.kind }, 'attempt broke off'))
    return worker
  }

  #applied(event: StoredEvent): void {
    switch (event.type) {
      case 'command.accepted': {
        const envelope = (event.data as { command: CommandEnvelope }).command
        if (this.#laneOf.has(envelope.type)) this.#carry(envelope)
        return
      }
      case 'command.cancel-requested':
        this.#cancel(event.subject.slice('command/'.length))
        return
      case 'command.succeeded':
      case 'command.failed':
      case 'command.cancelled':
        this.#ended(event.subject.slice('command/'.length))
    }
  }

  #carry(envelope: CommandEnvelope): void {
    const reserved = this.#reserved.get(envelope.id)
    const key = reserved ?? this.#lineOf(envelope)
    const line = this.#lines.get(key) ?? []
    this.#lines.set(key, line)
    const carried: Carried = { envelope, offeredAt: 0 }
    this.#byId.set(envelope.id, { envelope, line: key })
    if (envelope.deadline !== undefined) this.#watchDeadline(envelope, envelope.deadline)
    if (reserved !== undefined) {
      carried.offeredAt = Date.now()
      line.unshift(carried) // Before any that was accepted while this one was on its way.
      return
    }
    line.push(carried)
    if (line.length === 1 && !this.#isReserved(key)) this.#sendOn(carried)
  }

  /** Has it begun here, or queues it. */
  #sendOn(carried: Carried): void {
    const lane = this.#laneOf.get(carried.envelope.type)
    const place = lane && this.#placeFor(lane, carried.envelope)
    if (lane === undefined || place === undefined) this.#offer(carried)
    else this.#attemptHere(carried, lane, place)
  }

  /**
   * A place for a command that need not wait for anybody; a step, and one that is `immediate`, passes those that do. No queue
   * has a part in that: an attempt is fenced by the log, and should it not end, the command is offered like any other.
   */
  #placeFor(lane: Lane, { parentId, type }: CommandEnvelope): Disposable | undefined {
    if (!this.#hasStarted || this.#stopping.signal.aborted) return undefined
    const places = this.#placesOf(lane)
    const isStep = parentId !== undefined && this.#options.harness.isRunning(parentId)
    return isStep || lane.immediate?.has(type) ? places.tryTake() : places.tryTakeUnasked()
  }

  #attemptHere(carried: Carried, lane: Lane, place: Disposable, token?: number): void {
    const { id, namespace } = carried.envelope
    carried.offeredAt = Date.now()
    const attempt = async () => {
      using _ = place
      await this.#options.harness.attempt(
        namespace,
        id,
        lane.kind,
        this.#stopping.signal,
        token === undefined ? {} : { token },
      )
    }
    attempt()
      .catch((err) => this.#options.logger.warn({ err, lane: lane.kind }, 'attempt broke off'))
      .finally(() => this.#offerAgain(id))
  }

  /** A place for a command that is about to be accepted, if it may begin at once. */
  #reserve(envelope: CommandEnvelope): Reservation | undefined {
    const lane = this.#laneOf.get(envelope.type)
    if (lane === undefined) return undefined
    const line = this.#lineOf(envelope)
    if (this.#lines.has(line) || this.#isReserved(line)) return undefined
    const place = this.#placeFor(lane, envelope)
    if (place === undefined) return undefined
    const { id } = envelope
    this.#reserved.set(id, line)
    return {
      worker: lane.kind,
      begin: (token) => {
        const carried = this.#lines.get(line)?.find((each) => each.envelope.id === id)
        if (!this.#reserved.delete(id) || carried === undefined) place[Symbol.dispose]()
        else this.#attemptHere(carried, lane, place, token)
      },
      [Symbol.dispose]: () => {
        if (!this.#reserved.delete(id)) return
        place[Symbol.dispose]()
        const first = this.#lines.get(line)?.[0]
        if (first?.offeredAt === 0 || first?.envelope.id === id) this.#sendOn(first)
      },
    }
  }

  #isReserved(line: string): boolean {
    for (const reserved of this.#reserved.values()) if (reserved === line) return true
    return false
  }

  #placesOf(lane: Lane): Places {
    const places = this.#places.get(lane.kind) ?? new Places(lane.concurrency)
    this.#places.set(lane.kind, places)
    return places
  }

  #ended(id: string): void {
    const known = this.#byId.get(id)
    if (!known) return
    this.#byId.delete(id)
    clearTimeout(this.#deadlines.get(id))
    this.#deadlines.delete(id)
    const key = known.line
    const line = this.#lines.get(key) ?? []
    const at = line.findIndex((carried) => carried.envelope.id === id)
    line.splice(at, at < 0 ? 0 : 1)
    const lane = this.#laneOf.get(known.envelope.type)
    if (lane) this.#placesOf(lane).waitsNoLonger(id)
    const next = line[0]
    if (!next) this.#lines.delete(key)
    else if (at === 0) this.#sendOn(next)
  }

  /** Commands on one aggregate instance wait for each other, but a step never for the command that it is a step of. */
  #lineOf({ id, type, namespace, aggregate, subject, parentId }: CommandEnvelope): string {
    if (this.#laneOf.get(type)?.immediate?.has(type)) return `${namespace}\n${aggregate}\n${subject}\n\n${id}`
    const line = `${namespace}\n${aggregate}\n${subject}`
    const parentLine = parentId === undefined ? undefined : this.#byId.get(parentId)?.line
    const isParents = parentLine === line || parentLine?.startsWith(`${line}\n`)
    return isParents ? `${line}\n${parentId}` : line
  }

  #offer(carried: Carried, jobIdOf = async (_queue: Queue, id: string) => id): void {
    const { envelope } = carried
    const { id, namespace, priority, type } = envelope
    const lane = this.#laneOf.get(type)
    const queue = lane && this.#queues.get(lane.kind)
    if (!queue) return
    carried.offeredAt = Date.now()
    this.#placesOf(lane).waits(id, priority)
    const { tracer = noTracing, logger } = this.#options
    const span = tracer.start(sendSpan(lane.kind, envelope), envelope.traceparent)
    const { traceparent } = span
    const add = async () => {
      const options: JobsOptions = { jobId: await jobIdOf(queue, id), priority }
      await queue.add(type, { namespace, id, ...(traceparent === undefined ? {} : { traceparent }) }, options)
    }
    add().then(
      () => span.end(),
      (err) => {
        span.end({ type: 'unavailable' })
        logger.debug({ err, commandId: id }, 'not queued: the sweep offers it again')
      },
    )
  }

  /** An attempt that ended without an outcome is followed by another one soon, and as soon as Redis is back. */
  #offerAgain(id: string): void {
    const known = this.#byId.get(id)
    if (!known) return
    const timer = setTimeout(() => {
      const first = this.#lines.get(known.line)?.[0]
      if (first?.envelope.id === id && !this.#options.harness.isRunning(id)) this.#offer(first, freeJobId)
    }, AGAIN_MS)
    timer.unref()
  }

  /** Offers again what has been waiting for long: its job may be lost, and if it is not, its id keeps it single. */
  #sweep(olderThanMs = this.#sweepMs): void {
    const before = Date.now() - olderThanMs
    let offered = 0
    for (const [first] of this.#lines.values()) {
      if (!first || first.offeredAt > before || this.#options.harness.isRunning(first.envelope.id)) continue
      this.#offer(first, freeJobId)
      if (++offered >= SWEEP_MAX) return
    }
  }

  /** A running attempt is told by the harness; one that has not begun ends here. */
  #cancel(id: string): void {
    const known = this.#byId.get(id)
    if (!known || this.#options.harness.isRunning(id)) return
    this.#endWaiting(known.envelope, new PurserError('cancelled', 'cancelled before it began'))
  }

  #watchDeadline(envelope: CommandEnvelope, deadline: string): void {
    const leftMs = Math.min(Math.max(0, Date.parse(deadline) - Date.now()), 2 ** 31 - 1)
    const timer = setTimeout(() => {
      if (this.#options.harness.isRunning(envelope.id)) return // Its own signal ends it.
      this.#endWaiting(envelope, new PurserError('deadline_exceeded', 'the deadline passed before the command began'))
    }, leftMs)
    timer.unref()
    this.#deadlines.set(envelope.id, timer)
  }

  #endWaiting(envelope: CommandEnvelope, error: PurserError): void {
    const { log, logger } = this.#options
    if (!isActive(log.documents.get(command, envelope.namespace, envelope.id))) return
    // Once, at this version: on a conflict an attempt has just begun, and knows.
    const changes = log.changesOf([failure(envelope, error, 0)], envelope.namespace)
    log.append(changes, causeOf(envelope)).catch((err) => {
      logger.warn({ err, commandId: envelope.id }, 'a cancelled command could not be ended: the next start does it')
    })
  }
}

/**
 * The id of a job that a worker can take. One that Redis has given out while nobody works on it went to a connection that
 * broke before the answer came: BullMQ would give it out again after up to a minute, another id is free at once.
 */
async function freeJobId(queue: Queue, id: string): Promise<string> {
  let free = id
  for (let n = 1; (await queue.getJobState(free)) === 'active'; n++) free = `${id}-${n}`
  return free
}

const queueName = (lane: Lane, node: string): string => `${lane.kind}.{${node}}`
