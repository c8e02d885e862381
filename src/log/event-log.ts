import type { Redis } from 'ioredis'
import type { AnyAggregate, Fact } from '../model/aggregate.ts'
import { PurserError } from '../model/errors.ts'
import type { Cause, EventEnvelope, StoredEvent } from '../model/event.ts'
import { uuidv7 } from '../model/ids.ts'
import { type AppendCall, type AppendReply, defineAppend } from './append-script.ts'
import { Documents } from './documents.ts'
import type { LogKeys } from './keys.ts'
import { CommandRetention } from './retention.ts'

/** The facts of one append that belong to one aggregate instance, with the version they were decided on. */
export interface Change {
  aggregate: string
  namespace: string
  id: string
  expectedVersion: number
  facts: readonly { type: string; data: unknown }[]
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

const IDEMPOTENCY_SECONDS = 7 * 24 * 3600
const READ_BATCH = 1000
const RECENT_MAX = 4096

type Listener = (event: StoredEvent) => void

/**
 * A node's event log and the documents folded from it. Opening it takes the next epoch, so that an earlier daemon that
 * still believes in itself can write nothing more.
 */
export class EventLog {
  readonly documents: Documents
  readonly node: string
  readonly #redis: Redis
  readonly #keys: LogKeys
  readonly #append: AppendCall
  readonly #retention: CommandRetention
  readonly #listeners = new Set<Listener>()
  /** The last events applied, so that subscribers near the head need not ask Redis. */
  readonly #recent: StoredEvent[] = []
  #epoch = 0
  #catchingUp: Promise<void> | undefined

  private constructor(redis: Redis, keys: LogKeys, node: string, aggregates: ReadonlyMap<string, AnyAggregate>) {
    this.#redis = redis
    this.#keys = keys
    this.node = node
    this.documents = new Documents(aggregates)
    this.#append = defineAppend(redis)
    this.#retention = new CommandRetention(this.documents, (fields) => {
      // Lost when Redis is away: the next start applies retention again.
      redis.hdel(keys.documents('command'), ...fields).catch(() => {})
    })
  }

  /** Loads the stored documents, and folds what the log holds beyond them. */
  static async open(options: {
    redis: Redis
    keys: LogKeys
    node: string
    aggregates: ReadonlyMap<string, AnyAggregate>
  }): Promise<EventLog> {
    const log = new EventLog(options.redis, options.keys, options.node, options.aggregates)
    log.#epoch = await options.redis.hincrby(options.keys.meta, 'epoch', 1)
    log.documents.head = Number((await options.redis.hget(options.keys.meta, 'head')) ?? 0)
    for (const name of options.aggregates.keys()) {
      for await (const [field, value] of scanHash(options.redis, options.keys.documents(name))) {
        log.documents.load(name, field, value)
      }
    }
    log.#retention.loaded()
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
    const keys = [
      this.#keys.events,
      this.#keys.meta,
      this.#keys.fences,
      idempotency ? this.#keys.idempotency(idempotency.namespace, idempotency.key) : this.#keys.meta,
    ]
    const args: (string | number)[] = [
      this.#epoch,
      fence?.commandId ?? '',
      fence && 'token' in fence ? fence.token : '',
      fence && 'release' in fence ? '1' : '',
      idempotency?.value ?? '',
      IDEMPOTENCY_SECONDS,
      changes.length,
    ]
    const envelopes: EventEnvelope[] = []
    for (const change of changes) {
      keys.push(this.#keys.documents(change.aggregate))
      const aggregate = this.documents.aggregate(change.aggregate)
      let { state } = this.documents.read(change.aggregate, change.namespace, change.id)
      const serialised: string[] = []
      for (const fact of change.facts) {
        const envelope = this.#envelope(aggregate, change, fact, cause, now)
        envelopes.push(envelope)
        serialised.push(JSON.stringify(envelope))
        state = aggregate.evolve(state, envelope)
      }
      const stored = aggregate.exists(state) ? JSON.stringify(state) : ''
      args.push(`${change.namespace}/${change.id}`, change.expectedVersion, stored, serialised.length, ...serialised)
    }
    const reply = await this.#send(keys, args)
    switch (reply[0]) {
      case 'ok': {
        const first = Number(reply[1])
        await this.#deliver(envelopes.map((envelope, index) => ({ ...envelope, position: first + index })))
        return { outcome: 'written', first, last: first + envelopes.length - 1 }
      }
      case 'conflict':
        await this.catchUp()
        return { outcome: 'conflict', field: reply[1] }
      case 'duplicate':
        return { outcome: 'duplicate', value: reply[1] }
      case 'fenced':
        throw new PurserError('aborted', `another attempt at command ${fence?.commandId} has taken over`)
      case 'superseded':
        throw new PurserError('aborted', `a newer daemon (epoch ${reply[1]}) serves node ${this.node}`, {
          remedy: 'stop this one',
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

  /** Groups facts by aggregate instance, in the order given, each with its present version. */
  changesOf(facts: readonly Fact[], namespace: string): Change[] {
    const changes = new Map<string, Change & { facts: { type: string; data: unknown }[] }>()
    for (const fact of facts) {
      const within = fact.namespace ?? namespace
      const key = `${fact.aggregate}\n${within}\n${fact.id}`
      let change = changes.get(key)
      if (!change) {
        const { version } = this.documents.read(fact.aggregate, within, fact.id)
        change = { aggregate: fact.aggregate, namespace: within, id: fact.id, expectedVersion: version, facts: [] }
        changes.set(key, change)
      }
      change.facts.push({ type: fact.type, data: fact.data })
    }
    return [...changes.values()]
  }

  /** Events after a position, up to and with another (default: the head). */
  async *read(after: number, through = Number.POSITIVE_INFINITY): AsyncGenerator<StoredEvent> {
    let position = after
    while (position < through) {
      const end = Number.isFinite(through) ? `${through}-0` : '+'
      const entries = await this.#readBatch(position, end)
      for (const event of entries) yield event
      const last = entries.at(-1)
      if (!last || entries.length < READ_BATCH) return
      position = last.position
    }
  }

  /** Events after a position, then those to come; holds no more than one batch, however slow the reader is. */
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
        const oldest = this.#recent[0]?.position ?? Number.POSITIVE_INFINITY
        const batch =
          position + 1 >= oldest
            ? this.#recent.slice(position + 1 - oldest, position + 1 - oldest + READ_BATCH)
            : await this.#readBatch(position, `${this.head}-0`)
        if (batch.length === 0) return
        for (const event of batch) {
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

  #envelope(
    aggregate: AnyAggregate,
    change: Change,
    fact: { type: string; data: unknown },
    cause: Cause,
    time: string,
  ): EventEnvelope {
    const schema = aggregate.events[fact.type]
    if (!schema) throw new PurserError('internal', `${fact.type} is no event of ${aggregate.name}`)
    return {
      specversion: '1.0',
      id: uuidv7(),
      source: `/nodes/${this.node}`,
      type: fact.type,
      subject: `${aggregate.name}/${change.id}`,
      time,
      namespace: change.namespace,
      aggregate: aggregate.name,
      commandid: cause.commandId,
      correlationid: cause.correlationId,
      actor: cause.actor,
      ...(cause.traceparent === undefined ? {} : { traceparent: cause.traceparent }),
      schema: aggregate.schemaVersions?.[fact.type] ?? 1,
      // Through JSON, so that what is folded now is what a later reader folds.
      data: JSON.parse(JSON.stringify(schema.parse(fact.data))),
    }
  }

  async #send(keys: string[], args: (string | number)[]): Promise<AppendReply> {
    try {
      return await this.#append(keys.length, ...keys, ...args)
    } catch (error) {
      throw unavailable(error)
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

  async #readBatch(after: number, end: string): Promise<StoredEvent[]> {
    try {
      const entries = await this.#redis.xrange(this.#keys.events, `(${after}-0`, end, 'COUNT', READ_BATCH)
      return entries.map(([id, fields]) => ({ ...JSON.parse(fields[1] ?? '{}'), position: Number.parseInt(id, 10) }))
    } catch (error) {
      throw unavailable(error)
    }
  }
}

function unavailable(error: unknown): PurserError {
  return new PurserError('unavailable', 'Redis, which holds the log, does not answer', {
    remedy: 'the daemon reconnects by itself: try again shortly',
    cause: error,
  })
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
