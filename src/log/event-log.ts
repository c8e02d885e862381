import { statfsSync } from 'node:fs'
import type { Redis } from 'ioredis'
import { lineOf } from '../archive/lines.ts'
import type { AnyAggregate, Fact } from '../model/aggregate.ts'
import { PurserError } from '../model/errors.ts'
import { type Cause, type EventEnvelope, type StoredEvent, spontaneous } from '../model/event.ts'
import type { AppendReply } from './append-script.ts'
import { Documents } from './documents.ts'
import { recordOf } from './envelope.ts'
import { type AppendRequest, GroupCommit } from './group-commit.ts'
import type { HeadWitness } from './head-witness.ts'
import type { LogKeys } from './keys.ts'
import { CommandRetention } from './retention.ts'
import { upcast } from './upcast.ts'

/** The facts of one append that belong to one aggregate instance, with the version they were decided on. */
export interface Change {
  aggregate: string
  namespace: string
  id: string
  expectedVersion: number
  /** `order`: which place a fact has among all of the append; as they stand, where it is left out. */
  facts: readonly { type: string; data: unknown; order?: number }[]
}

/** Which attempt at which command writes. `take` makes this attempt the owner, `token` proves it. */
export type Fence = { commandId: string } & ({ take: true } | { token: number; release?: true })

export interface AppendOptions {
  fence?: Fence
  /** Refused as a duplicate when the key was used before; `value` is what the duplicate is told. */
  idempotency?: { namespace: string; key: string; value: string }
}

export type Appended =
  | { outcome: 'written'; first: number; last: number }
  | { outcome: 'conflict'; field: string }
  | { outcome: 'duplicate'; value: string }

/** The part of the log that is on disk, and of which Redis may hold nothing any more. */
export interface Sealed {
  /** Positions of the first event that it holds and of the last. */
  readonly first: number
  readonly last: number
  /** Events after a position, up to and with another; each line is JSON and begins with its position. */
  read(after: number, through: number): AsyncIterable<{ position: number; line: Buffer }>
  /** Position of its last event before a moment. */
  positionBefore(timeMs: number): Promise<number>
}

export interface EventLogOptions {
  redis: Redis
  keys: LogKeys
  node: string
  aggregates: ReadonlyMap<string, AnyAggregate>
  sealed?: Sealed
  /** Is told how far the log was acknowledged. */
  witness?: HeadWitness
  /** Where Redis keeps its data, when that is on this host: to tell a full disk from another trouble. */
  dataDir?: string | undefined
  /** Is told how long each append took, in seconds. */
  onAppend?: ((seconds: number) => void) | undefined
}

export const IDEMPOTENCY_SECONDS = 7 * 24 * 3600
const READ_BATCH = 1000
/** With less than this on its disk, Redis is out of space. */
const FULL_BYTES = 64 * 1024
const RECENT_MAX = 4096

type Listener = (event: StoredEvent) => void

/**
 * A node's event log and the documents folded from it. Opening it takes the next epoch, so that an earlier daemon that
 * still believes in itself can write nothing more.
 */
export class EventLog {
  readonly documents: Documents
  readonly node: string
  readonly #aggregates: ReadonlyMap<string, AnyAggregate>
  readonly #redis: Redis
  readonly #keys: LogKeys
  readonly #commit: GroupCommit
  readonly sealed: Sealed | undefined
  readonly #retention: CommandRetention
  readonly #listeners = new Set<Listener>()
  /** The last events applied, so that subscribers near the head need not ask Redis. */
  readonly #recent: StoredEvent[] = []
  readonly #dataDir: string | undefined
  readonly #witness: HeadWitness | undefined
  readonly #onAppend: EventLogOptions['onAppend']
  #catchingUp: Promise<void> | undefined

  private constructor({ redis, keys, node, aggregates, sealed, witness, dataDir, onAppend }: EventLogOptions) {
    this.#aggregates = aggregates
    this.#redis = redis
    this.#keys = keys
    this.node = node
    this.sealed = sealed
    this.#dataDir = dataDir
    this.#witness = witness
    this.#onAppend = onAppend
    this.documents = new Documents(aggregates)
    this.#commit = new GroupCommit(redis, keys)
    this.#retention = new CommandRetention(this.documents, (fields) => this.#commit.forget('command', fields))
  }

  /**
   * Loads the stored documents.
   *
   * @throws PurserError data_loss when Redis holds less of the log than the archive, or than was acknowledged
   */
  static async open(options: EventLogOptions): Promise<EventLog> {
    const log = new EventLog(options)
    const head = await log.#storedHead()
    const sealed = options.sealed?.last ?? 0
    if (head < sealed)
      throw new PurserError('data_loss', `Redis holds the log up to event ${head}, its archive up to ${sealed}`, {
        remedy: "Redis's data was lost or is of another node: purser log restore makes it anew from the archive",
      })
    const acknowledged = options.witness?.position ?? 0
    if (head < acknowledged)
      throw new PurserError(
        'data_loss',
        `Redis holds the log up to event ${head}, but events up to ${acknowledged} were acknowledged`,
        { remedy: 'put its data back if you can; purser log restore goes on without them, and records which are lost' },
      )
    log.#commit.epoch = await options.redis.hincrby(options.keys.meta, 'epoch', 1)
    log.documents.head = await log.#storedHead() // From here on nobody else can write.
    for (const name of options.aggregates.keys()) {
      for await (const [field, value] of scanHash(options.redis, options.keys.documents(name))) {
        log.documents.load(name, field, value)
      }
    }
    log.#retention.loaded()
    log.#witness?.note(log.head)
    options.redis.on('ready', () => {
      log.catchUp().catch(() => {}) // Redis is away again: the next 'ready' or append does it.
    })
    return log
  }

  get head(): number {
    return this.documents.head
  }

  get keys(): LogKeys {
    return this.#keys
  }

  /** Called for every event, in order, after the documents hold it. Must not throw or wait. */
  listen(listener: Listener): Disposable {
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) }
  }

  /**
   * Writes all changes or none; on return the documents hold them.
   *
   * @throws PurserError unavailable when Redis does not answer (it may have been written: look at the log),
   *   aborted when the fence was taken by another attempt or the daemon was superseded
   */
  async append(changes: readonly Change[], cause: Cause, options: AppendOptions = {}): Promise<Appended> {
    const { fence, idempotency } = options
    const now = new Date().toISOString()
    const keys = [idempotency ? this.#keys.idempotency(idempotency.namespace, idempotency.key) : this.#keys.meta]
    const args: (string | number)[] = [
      fence?.commandId ?? '',
      fence && 'token' in fence ? fence.token : '',
      fence && 'release' in fence ? '1' : '',
      idempotency?.value ?? '',
      IDEMPOTENCY_SECONDS,
      changes.length,
      changes.reduce((sum, { facts }) => sum + facts.length, 0),
    ]
    const states = changes.map(({ aggregate, namespace, id }) => this.documents.read(aggregate, namespace, id).state)
    const envelopes: EventEnvelope[] = []
    const events: (string | number)[] = []
    for (const { index, change, fact } of inOrder(changes)) {
      const aggregate = this.documents.aggregate(change.aggregate)
      const { namespace, id } = change
      const { envelope, json } = recordOf(aggregate, { node: this.node, namespace, id, ...fact, cause, time: now })
      states[index] = aggregate.evolve(states[index], envelope)
      envelopes.push(envelope)
      events.push(index + 1, json)
    }
    for (const [index, { aggregate, namespace, id, expectedVersion }] of changes.entries()) {
      const state = states[index]
      const stored = this.documents.aggregate(aggregate).exists(state) ? JSON.stringify(state) : ''
      keys.push(this.#keys.documents(aggregate))
      args.push(`${namespace}/${id}`, expectedVersion, stored)
    }
    args.push(...events)
    let reply = await this.#send({ keys, args })
    if (reply[0] === 'foreign') {
      await this.#quarantine()
      reply = await this.#send({ keys, args })
    }
    switch (reply[0]) {
      case 'ok': {
        const first = Number(reply[1])
        this.#witness?.note(first + envelopes.length - 1)
        await this.#deliver(envelopes.map((envelope, index) => ({ ...envelope, position: first + index })))
        return { outcome: 'written', first, last: first + envelopes.length - 1 }
      }
      case 'conflict':
        await this.catchUp()
        return { outcome: 'conflict', field: reply[1] }
      case 'duplicate':
        await this.catchUp() // What was written then may have been answered to nobody.
        this.#witness?.note(this.head)
        return { outcome: 'duplicate', value: reply[1] }
      case 'fenced':
        throw new PurserError('aborted', `another attempt at command ${fence?.commandId} has taken over`)
      case 'superseded':
        throw new PurserError('aborted', `a newer daemon (epoch ${reply[1]}) serves node ${this.node}`, {
          remedy: 'stop this one',
        })
      case 'error': // Rejected above.
      case 'foreign':
        throw new PurserError('aborted', 'somebody else keeps writing to the stream of events in Redis', {
          remedy: 'give Purser a Redis, or a redis.prefix, of its own',
        })
    }
  }

  /**
   * Appends facts that are true whatever else was written meanwhile: on a conflict they are folded onto the newer state.
   */
  async record(facts: readonly Fact[], namespace: string, cause: Cause, options: AppendOptions = {}): Promise<number> {
    for (let attempt = 0; attempt < 10; attempt++) {
      const appended = await this.append(this.changesOf(facts, namespace), cause, options)
      if (appended.outcome === 'written') return appended.first
      if (appended.outcome === 'duplicate') return 0
    }
    throw new PurserError('aborted', `${facts.map((fact) => fact.type).join(', ')}: too many concurrent changes`)
  }

  /** Groups facts by aggregate instance, each with its present version; in the log they stand in the order given. */
  changesOf(facts: readonly Fact[], namespace: string): Change[] {
    const changes = new Map<string, Change & { facts: { type: string; data: unknown; order: number }[] }>()
    for (const [order, fact] of facts.entries()) {
      const within = fact.namespace ?? namespace
      const key = `${fact.aggregate}\n${within}\n${fact.id}`
      let change = changes.get(key)
      if (!change) {
        const { version } = this.documents.read(fact.aggregate, within, fact.id)
        change = { aggregate: fact.aggregate, namespace: within, id: fact.id, expectedVersion: version, facts: [] }
        changes.set(key, change)
      }
      change.facts.push({ type: fact.type, data: fact.data, order })
    }
    return [...changes.values()]
  }

  /**
   * Events after a position, up to and with another (default: the head), from the archive and from Redis. What retention
   * had dropped before is left out; what an earlier release wrote has the shape of this one.
   *
   * @throws PurserError data_loss when an event is missing, out_of_range when retention drops it meanwhile
   */
  async *read(after: number, through = Number.POSITIVE_INFINITY): AsyncGenerator<StoredEvent> {
    for await (const { line } of this.readLines(after, through)) {
      yield upcast(this.#aggregates, JSON.parse(line.toString()))
    }
  }

  /** The same as lines of JSON, as they are or will be in the archive. */
  async *readLines(
    after: number,
    through = Number.POSITIVE_INFINITY,
  ): AsyncGenerator<{ position: number; line: Buffer | string }> {
    const end = Math.min(through, await this.#storedHead())
    let position = Math.max(after, (this.sealed?.first ?? 1) - 1)
    while (position < end) {
      const entries = await this.#readBatch(position, end)
      const next = entries[0]?.position ?? end + 1
      if (next > position + 1) {
        // Redis has been trimmed up to there.
        const before = next - 1
        if (this.sealed === undefined || this.sealed.last < before) throw missing(position + 1)
        try {
          for await (const sealed of this.sealed.read(position, Math.min(before, end))) {
            yield sealed
            position = sealed.position
          }
        } catch (error) {
          throw this.#dropped(position) ?? error
        }
        if (position < Math.min(before, end)) throw this.#dropped(position) ?? missing(position + 1)
        if (position < before) return
      }
      for (const entry of entries) {
        if (entry.position !== position + 1) throw missing(position + 1)
        yield entry
        position = entry.position
      }
    }
  }

  /** The next events after a position, at most so many, where they are still in memory. */
  recent(after: number, max: number): readonly StoredEvent[] | undefined {
    const oldest = this.#recent[0]?.position ?? Number.POSITIVE_INFINITY
    return after + 1 < oldest ? undefined : this.#recent.slice(after + 1 - oldest, after + 1 - oldest + max)
  }

  /**
   * Events after a position, then those to come; holds no more than one batch, however slow the reader is.
   *
   * @throws PurserError out_of_range when retention has dropped what comes next
   */
  async *subscribe(after: number, signal: AbortSignal): AsyncGenerator<StoredEvent> {
    let position = after
    let wake: (() => void) | undefined
    using _ = this.listen(() => wake?.())
    const onAbort = () => wake?.()
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      while (!signal.aborted) {
        if (position >= this.head) {
          await new Promise<void>((resolve) => {
            wake = resolve
            if (position < this.head || signal.aborted) resolve()
          })
          wake = undefined
          continue
        }
        const recent = this.recent(position, READ_BATCH)
        const dropped = recent === undefined ? this.#dropped(position) : undefined
        if (dropped) throw dropped
        for await (const event of recent ?? this.read(position, this.head)) {
          if (signal.aborted) return
          yield event
          position = event.position
        }
      }
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** Folds what the log holds beyond the documents: after a reconnection, or another writer's append. */
  async catchUp(): Promise<void> {
    this.#catchingUp ??= (async () => {
      try {
        for await (const event of this.read(this.head)) if (event.position === this.head + 1) this.#apply(event)
      } finally {
        this.#catchingUp = undefined
      }
    })()
    await this.#catchingUp
  }

  async #send(request: AppendRequest): Promise<AppendReply> {
    const begunAt = performance.now()
    try {
      const reply = await this.#commit.append(request)
      this.#onAppend?.((performance.now() - begunAt) / 1000)
      return reply
    } catch (error) {
      throw this.#unavailable(error)
    }
  }

  async #deliver(events: StoredEvent[]): Promise<void> {
    const last = events.at(-1)
    if (!last) return
    for (const event of events) if (event.position === this.head + 1) this.#apply(event)
    // Others wrote in between, or the replies before this one were lost.
    while (this.head < last.position) await this.catchUp()
  }

  #apply(event: StoredEvent): void {
    this.documents.apply(event)
    this.#retention.applied(event)
    this.#recent.push(event)
    if (this.#recent.length > RECENT_MAX * 2) this.#recent.splice(0, RECENT_MAX)
    for (const listener of this.#listeners) listener(event)
  }

  async #readBatch(after: number, through: number): Promise<{ position: number; line: string }[]> {
    try {
      const found = await this.#redis.xrange(this.#keys.events, `(${after}-0`, `${through}-0`, 'COUNT', READ_BATCH)
      // An id of another form is no event of ours: nothing reads it.
      const ours = found.filter(([id]) => id.endsWith('-0'))
      return ours.map(([id, fields]) => {
        const position = Number.parseInt(id, 10)
        return { position, line: lineOf(position, fields[1] ?? '{}') }
      })
    } catch (error) {
      throw this.#unavailable(error)
    }
  }

  /** Why what follows a position cannot be read, if it is retention. */
  #dropped(position: number): PurserError | undefined {
    const through = (this.sealed?.first ?? 1) - 1
    if (position >= through) return undefined
    return new PurserError(
      'out_of_range',
      `events ${position + 1} to ${through} were dropped by retention before they were read`,
      { remedy: `go on after ${through}: since=${through}` },
    )
  }

  async #storedHead(): Promise<number> {
    try {
      return Number((await this.#redis.hget(this.#keys.meta, 'head')) ?? 0)
    } catch (error) {
      throw this.#unavailable(error)
    }
  }

  /** @see redis.io, "Error replies": the first word is the code */
  #unavailable(error: unknown): PurserError {
    const code = error instanceof Error && error.name === 'ReplyError' ? error.message.split(' ', 1)[0] : undefined
    if (code === 'OOM') {
      return new PurserError('resource_exhausted', 'Redis, which holds the log, has reached its maxmemory', {
        remedy: 'purser log seal moves events to the archive; or raise maxmemory',
        cause: error,
      })
    }
    if (code === 'MISCONF' || this.#isDiskFull()) {
      return new PurserError('resource_exhausted', 'Redis, which holds the log, cannot write to its disk', {
        remedy: `free space on the disk that holds ${this.#dataDir ?? 'its data'}: the daemon goes on by itself`,
        cause: error,
      })
    }
    return new PurserError('unavailable', 'Redis, which holds the log, does not answer', {
      remedy: 'the daemon reconnects by itself: try again shortly',
      cause: error,
    })
  }

  /** That fsyncs every write ends when it cannot make one. */
  #isDiskFull(): boolean {
    if (this.#dataDir === undefined) return false
    try {
      const { bavail, bsize } = statfsSync(this.#dataDir)
      return bavail * bsize < FULL_BYTES
    } catch {
      return false
    }
  }

  /** Entries that somebody else put into the stream beyond the head are taken out, and that is recorded. */
  async #quarantine(): Promise<void> {
    const { events, meta, quarantine } = this.#keys
    const entries = await this.#commit.quarantine(events, meta, quarantine).catch((error) => {
      throw this.#unavailable(error)
    })
    if (entries.length === 0) return
    const data = { count: entries.length, entries: entries.slice(0, 100), stream: quarantine }
    const fact = { aggregate: 'log', id: 'node', type: 'log.entries-quarantined', data }
    await this.record([fact], 'default', spontaneous('log'))
  }
}

const missing = (position: number): PurserError =>
  new PurserError('data_loss', `event ${position} is missing in the log`, {
    remedy: 'purser log verify says what else is; purser log restore makes Redis anew from the archive',
  })

/** The facts of all changes as they are to stand in the log. */
function inOrder(changes: readonly Change[]) {
  const all = changes.flatMap((change, index) => change.facts.map((fact) => ({ index, change, fact })))
  return all.sort((a, b) => (a.fact.order ?? 0) - (b.fact.order ?? 0))
}

async function* scanHash(redis: Redis, key: string): AsyncGenerator<[string, string]> {
  let cursor = '0'
  const seen = new Set<string>() // HSCAN may name a field twice.
  do {
    const [next, flat] = await redis.hscan(key, cursor, 'COUNT', 1000)
    for (let at = 0; at + 1 < flat.length; at += 2) {
      const field = flat[at] ?? ''
      if (seen.has(field)) continue
      seen.add(field)
      yield [field, flat[at + 1] ?? '']
    }
    cursor = next
  } while (cursor !== '0')
}
