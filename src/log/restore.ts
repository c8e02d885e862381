import type { Redis } from 'ioredis'
import type { Archive, Entry } from '../archive/archive.ts'
import { lineOf } from '../archive/lines.ts'
import { logBook } from '../commands/log.ts'
import type { AnyAggregate } from '../model/aggregate.ts'
import { type CommandEnvelope, commandEnvelope } from '../model/command.ts'
import { PurserError } from '../model/errors.ts'
import { eventEnvelope, spontaneous } from '../model/event.ts'
import type { Documents } from './documents.ts'
import { envelopeOf } from './envelope.ts'
import { IDEMPOTENCY_SECONDS } from './event-log.ts'
import type { LogKeys } from './keys.ts'
import { CommandRetention } from './retention.ts'
import type { StateSnapshots } from './state-snapshots.ts'
import { upcast } from './upcast.ts'

export interface RestoreOptions {
  redis: Redis
  keys: LogKeys
  node: string
  aggregates: ReadonlyMap<string, AnyAggregate>
  archive: Archive
  snapshots: StateSnapshots
  /** How many events Redis is to hold. */
  tailEvents: number
  segmentEvents: number
  /** The highest position known to have been acknowledged; 0 when nothing is known. */
  acknowledged: number
  /** Positions of events in Redis that are not to be believed: they count as lost. */
  without: ReadonlySet<number>
  /** What a command's idempotency key was used for. */
  ledgerOf: (command: CommandEnvelope, key: string) => { namespace: string; key: string; value: string }
}

export interface Range {
  first: number
  last: number
}

export interface Restored {
  /** Positions of the last event that the archive held before, and of the one that records the restoration. */
  archiveThrough: number
  head: number
  /** Events that only Redis held, and that were kept. */
  fromRedis: number
  /** Acknowledged positions of which nothing is left. */
  lost: Range[]
  documents: number
  idempotencyKeys: number
}

/** What is beyond this cannot have been appended since the last segment: the number is wrong. */
const LOST_MAX = 1_000_000
const BATCH = 500

/**
 * Makes the log in Redis anew from the archive. Events that only Redis holds and that are whole go into the archive first, with a
 * placeholder in the place of each that was lost: positions are never used twice. From then on all that follows is a function of the
 * archive, so that a restoration that is cut off is simply made again.
 *
 * @throws PurserError data_loss when the number of lost events cannot be right; failed_precondition when a later release wrote events
 */
export async function restoreLog(options: RestoreOptions): Promise<Restored> {
  const { redis, keys, archive, snapshots } = options
  const held = await readHeld(redis, keys)
  const survivors = await readSurvivors(options, held.head)
  const tail = tailOf(options, survivors, Math.max(held.head, options.acknowledged, ...options.without))
  await snapshots.dropFrom(tail.lost[0]?.first ?? tail.through + 1)

  const fold = await Fold.start(options)
  await fold.advance() // What cannot be folded is to be known before anything is changed.
  const archiveThrough = archive.last
  for (let at = 0; at < tail.entries.length; at += options.segmentEvents)
    await archive.seal(tail.entries.slice(at, at + options.segmentEvents))
  await fold.advance()

  await removeKeys(redis, keys)
  await writeTail(options)
  for (const name of options.aggregates.keys())
    await inBatches(redis, fold.documents.serialised(name), (pipeline, [field, value]) =>
      pipeline.hset(keys.documents(name), field, value),
    )
  await inBatches(redis, fold.ledger, (pipeline, { namespace, key, value, expiresMs }) =>
    pipeline.set(keys.idempotency(namespace, key), value, 'PXAT', expiresMs),
  )
  // Last: without a head a daemon does not start on what is half made. The epoch is beyond that of any daemon there was.
  const epoch = Math.max(held.epoch + 1, Math.floor(Date.now() / 1000))
  await redis.hset(keys.meta, { head: archive.last, epoch })
  let documents = 0
  for (const name of options.aggregates.keys()) documents += fold.documents.count(name)
  const { lost } = tail
  const idempotencyKeys = fold.ledger.length
  return { archiveThrough, head: archive.last, fromRedis: survivors.size, lost, documents, idempotencyKeys }
}

async function readHeld(redis: Redis, keys: LogKeys): Promise<{ head: number; epoch: number }> {
  const numberOf = (text: string | null | undefined) => (/^\d{1,15}$/.test(text ?? '') ? Number(text) : 0)
  const [head, epoch] = await redis.hmget(keys.meta, 'head', 'epoch').catch(() => [])
  return { head: numberOf(head), epoch: numberOf(epoch) }
}

/** Whole events that Redis holds after the archive's last, by position; none that nobody has appended. */
async function readSurvivors(
  { redis, keys, archive, node, acknowledged, without }: RestoreOptions,
  head: number,
): Promise<Map<number, string>> {
  const survivors = new Map<number, string>()
  const end = Math.max(head, acknowledged)
  let cursor = `${archive.last}-0`
  while (true) {
    const found = await redis.xrange(keys.events, `(${cursor}`, '+', 'COUNT', BATCH).catch(wrongType)
    for (const [id, fields] of found) {
      const position = Number.parseInt(id, 10)
      // With neither number left, what follows without a gap is all there is to believe.
      if (position > (end || archive.last + survivors.size + without.size + 1)) return survivors
      if (id === `${position}-0` && !without.has(position) && isEvent(fields[1], node))
        survivors.set(position, fields[1])
      cursor = id
    }
    if (found.length < BATCH) return survivors
  }
}

/** A key of another kind holds no events. */
function wrongType(error: unknown): [] {
  if (error instanceof Error && error.message.startsWith('WRONGTYPE')) return []
  throw error
}

function isEvent(json: string | undefined, node: string): json is string {
  try {
    const parsed = eventEnvelope.safeParse(JSON.parse(json ?? ''))
    return parsed.success && parsed.data.source === `/nodes/${node}`
  } catch {
    return false
  }
}

/** What follows the archive: survivors, placeholders, and the record of it. */
function tailOf(
  { archive, node }: RestoreOptions,
  survivors: ReadonlyMap<number, string>,
  acknowledged: number,
): { entries: Entry[]; through: number; lost: Range[] } {
  const archiveThrough = archive.last
  const present = Math.max(archiveThrough, ...[...survivors.keys()].slice(-1))
  if (acknowledged - present > LOST_MAX)
    throw new PurserError(
      'data_loss',
      `events up to ${acknowledged} are said to have been acknowledged, ${present} is the last one there is`,
      { remedy: 'name the last position that was acknowledged with --head, if that is not right' },
    )
  const time = new Date().toISOString()
  const cause = spontaneous('restore')
  const make = (type: string, data: unknown) =>
    envelopeOf(logBook, { node, namespace: 'default', id: 'node', type, data, cause, time })
  const lost: Range[] = []
  const entries: Entry[] = []
  const tailThrough = Math.max(present, acknowledged)
  for (let position = archiveThrough + 1; position <= tailThrough; position++) {
    const json = survivors.get(position)
    if (json === undefined) {
      const range = lost.at(-1)
      if (range?.last === position - 1) range.last = position
      else lost.push({ first: position, last: position })
    }
    const kept = json ?? JSON.stringify(make('log.event-lost', {}))
    entries.push({
      line: lineOf(position, kept),
      time: json === undefined ? time : eventEnvelope.parse(JSON.parse(json)).time,
    })
  }
  const [first, last] = [lost[0]?.first, lost.at(-1)?.last]
  const hull = first === undefined || last === undefined ? {} : { lost: { first, last } }
  const record = make('log.restored', { archiveThrough, tailThrough, ...hull })
  entries.push({ line: lineOf(tailThrough + 1, JSON.stringify(record)), time })
  return { entries, through: tailThrough, lost }
}

/** State and ledger as the archive has them. */
class Fold {
  readonly documents: Documents
  readonly ledger: { namespace: string; key: string; value: string; expiresMs: number }[] = []
  readonly #options: RestoreOptions
  readonly #retention: CommandRetention

  private constructor(options: RestoreOptions, documents: Documents) {
    this.#options = options
    this.documents = documents
    this.#retention = new CommandRetention(documents, () => {})
    this.#retention.loaded()
  }

  static async start(options: RestoreOptions): Promise<Fold> {
    return new Fold(options, await options.snapshots.base({ sealed: options.archive }))
  }

  /** @throws PurserError failed_precondition for events of a later release */
  async advance(): Promise<void> {
    const { archive, aggregates } = this.#options
    const nowMs = Date.now()
    for await (const { line } of archive.read(this.documents.head)) {
      const event = upcast(aggregates, JSON.parse(line.toString()))
      this.documents.apply(event)
      this.#retention.applied(event)
      const expiresMs = Date.parse(event.time) + IDEMPOTENCY_SECONDS * 1000
      if (event.type === 'command.accepted' && expiresMs > nowMs) this.#enter(event.data.command, expiresMs)
    }
    const { skipped } = this.documents
    if (skipped === 0) return
    throw new PurserError('failed_precondition', `the log has ${skipped} events that this version does not know`, {
      remedy: 'restore with the version of purser that wrote them, which folds all of them',
    })
  }

  #enter(data: unknown, expiresMs: number): void {
    const command = commandEnvelope.safeParse(data)
    if (command.data?.idempotencyKey === undefined) return
    this.ledger.push({ ...this.#options.ledgerOf(command.data, command.data.idempotencyKey), expiresMs })
  }
}

/** All of the node's keys, but for what is kept as evidence. */
async function removeKeys(redis: Redis, keys: LogKeys): Promise<void> {
  for await (const found of redis.scanStream({ match: `${keys.prefix}*`, count: 1000 })) {
    const gone = (found as string[]).filter((key) => key !== keys.quarantine)
    if (gone.length > 0) await redis.unlink(...gone)
  }
}

async function writeTail({ redis, keys, archive, tailEvents }: RestoreOptions): Promise<void> {
  // At least one, so that the stream's last id is the head.
  const after = Math.max(archive.first - 1, archive.last - Math.max(1, tailEvents))
  let batch: { position: number; line: Buffer }[] = []
  const write = () =>
    inBatches(redis, batch, (pipeline, { position, line }) =>
      pipeline.xadd(keys.events, `${position}-0`, 'e', `{${line.toString().slice(lineOf(position, '{').length)}`),
    )
  for await (const entry of archive.read(after)) {
    if (batch.push(entry) < BATCH) continue
    await write()
    batch = []
  }
  await write()
}

type Pipeline = ReturnType<Redis['pipeline']>

async function inBatches<T>(
  redis: Redis,
  items: Iterable<T>,
  add: (pipeline: Pipeline, item: T) => unknown,
): Promise<void> {
  let pipeline = redis.pipeline()
  const run = async () => {
    for (const [error] of (await pipeline.exec()) ?? []) if (error) throw error
    pipeline = redis.pipeline()
  }
  for (const item of items) {
    add(pipeline, item)
    if (pipeline.length >= BATCH) await run()
  }
  if (pipeline.length > 0) await run()
}
