import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { Logger } from 'pino'
import type { Archive, Entry } from '../archive/archive.ts'
import { leafHash } from '../archive/merkle.ts'
import { PurserError } from '../model/errors.ts'
import { spontaneous } from '../model/event.ts'
import type { EventLog } from './event-log.ts'
import type { StateSnapshots } from './state-snapshots.ts'

export interface SealerOptions {
  log: EventLog
  archive: Archive
  snapshots: StateSnapshots
  redis: Redis
  /** A segment is sealed when it would have so many events, or bytes of JSON, or when its first event is so old. */
  segmentEvents: number
  segmentBytes: number
  segmentAgeMs: number
  /** What Redis keeps of what is sealed: so many events, and none that is older. */
  tailEvents: number
  tailAgeMs: number
  /** What the archive keeps; without bound when left out. */
  keepAgeMs?: number | undefined
  keepBytes?: number | undefined
  /** Called after each segment with the signed head. */
  onSealed?: (checkpoint: string) => void
  logger: Logger
}

const FOLLOW_MS = 1000
const RETRY_MS_MAX = 60_000
const HASHES_AT_ONCE = 2000

/**
 * Follows the log and seals it. It remembers the hash of each event that it saw, so that one which is altered in Redis
 * before it is sealed does not get into the archive unnoticed.
 */
export class Sealer {
  readonly #options: SealerOptions
  readonly #stop = new AbortController()
  /** Of the events after the archive's last: their leaf hashes and bytes. */
  #hashes: Buffer[] = []
  #sizes: number[] = []
  #firstSeenAt = 0
  #running: Promise<void> | undefined
  #sealing: Promise<unknown> = Promise.resolve()
  #problem: PurserError | undefined

  constructor(options: SealerOptions) {
    this.#options = options
  }

  /** Why nothing is sealed at present. */
  get problem(): PurserError | undefined {
    return this.#problem
  }

  start(): void {
    this.#running = this.#run()
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#running
    await this.#sealing.catch(() => {})
  }

  /**
   * Seals all there is now.
   *
   * @returns position of the last sealed event
   * @throws PurserError data_loss when an event in Redis is not the one that was appended
   */
  async seal(): Promise<number> {
    await this.#exclusively(async () => {
      await this.#follow()
      while (this.#hashes.length > 0) await this.#sealSegment()
      await this.#trim()
    })
    return this.#options.archive.last
  }

  /** Compares what Redis holds of the tail with what was followed. @returns how many events were compared */
  async checkTail(): Promise<number> {
    return await this.#exclusively(async () => {
      await this.#follow()
      await this.#readBack(this.#hashes.length)
      return this.#hashes.length
    })
  }

  async #run(): Promise<void> {
    const { logger } = this.#options
    let pauseMs = FOLLOW_MS
    while (!this.#stop.signal.aborted) {
      try {
        await this.#exclusively(() => this.#tend())
        pauseMs = FOLLOW_MS
      } catch (err) {
        // Redis away, the disk full, or an event altered: said once, tried again.
        if (pauseMs === FOLLOW_MS) logger.error({ err }, 'the log could not be sealed')
        pauseMs = Math.min(pauseMs * 2, RETRY_MS_MAX)
      }
      await delay(pauseMs, undefined, { signal: this.#stop.signal, ref: false }).catch(() => {})
    }
  }

  async #tend(): Promise<void> {
    const { log, archive, segmentEvents, segmentAgeMs } = this.#options
    if (archive.last + this.#hashes.length < log.head) await this.#follow()
    while (this.#hashes.length >= segmentEvents || this.#bytes() >= this.#options.segmentBytes)
      await this.#sealSegment()
    if (this.#hashes.length > 0 && Date.now() - this.#firstSeenAt >= segmentAgeMs) await this.#sealSegment()
    await this.#trim()
    await this.#drop()
  }

  #bytes(): number {
    return this.#sizes.reduce((sum, size) => sum + size, 0)
  }

  async #follow(): Promise<void> {
    const { log, archive } = this.#options
    let sinceYield = 0
    for await (const { position, line } of log.readLines(archive.last + this.#hashes.length, log.head)) {
      if (position !== archive.last + this.#hashes.length + 1) continue
      if (this.#hashes.length === 0) this.#firstSeenAt = Date.now()
      this.#hashes.push(leafHash(line))
      this.#sizes.push(line.length)
      sinceYield += 1
      if (sinceYield % HASHES_AT_ONCE === 0) await new Promise(setImmediate)
    }
  }

  async #sealSegment(): Promise<void> {
    const { archive, segmentEvents, segmentBytes, onSealed, logger } = this.#options
    const begunAt = performance.now()
    let count = 0
    for (let bytes = 0; count < this.#sizes.length && count < segmentEvents; count++) {
      bytes += this.#sizes[count] ?? 0
      if (count > 0 && bytes > segmentBytes) break
    }
    const entries = await this.#readBack(count)
    const segment = await archive.seal(entries)
    this.#hashes.splice(0, count)
    this.#sizes.splice(0, count)
    this.#firstSeenAt = Date.now()
    this.#problem = undefined
    logger.info({ last: segment.last, events: count, durationMs: Math.round(performance.now() - begunAt) }, 'sealed')
    onSealed?.(archive.checkpoint)
  }

  /** The first events of the tail, as Redis holds them now. */
  async #readBack(count: number): Promise<Entry[]> {
    const { log, archive } = this.#options
    const entries: Entry[] = []
    try {
      for await (const { position, line } of log.readLines(archive.last, archive.last + count)) {
        const text = line.toString()
        const seen = this.#hashes[entries.length]
        if (seen === undefined || !leafHash(text).equals(seen)) throw altered(position)
        entries.push({ line: text, time: String(JSON.parse(text).time) })
      }
      if (entries.length < count) throw altered(archive.last + entries.length + 1)
    } catch (error) {
      if (error instanceof PurserError && error.code === 'data_loss') this.#problem = error
      throw error
    }
    return entries
  }

  /** Takes out of Redis what is sealed and no longer part of the hot tail. */
  async #trim(): Promise<void> {
    const { log, archive, redis, tailEvents, tailAgeMs } = this.#options
    const [oldest] = await redis.xrange(log.keys.events, '-', '+', 'COUNT', 1)
    const held = oldest === undefined ? log.head + 1 : Number.parseInt(oldest[0], 10)
    if (held > archive.last) return
    const old =
      timeOf(oldest?.[1][1]) < Date.now() - tailAgeMs ? await archive.positionBefore(Date.now() - tailAgeMs) : 0
    const through = Math.min(archive.last, Math.max(log.head - tailEvents, old))
    if (through >= held) await redis.xtrim(log.keys.events, 'MINID', `${through + 1}-0`)
  }

  /** Retention: whole segments go, their hashes stay, and that is an event. */
  async #drop(): Promise<void> {
    const { log, archive, snapshots, keepAgeMs, keepBytes, logger } = this.#options
    if (keepAgeMs === undefined && keepBytes === undefined) return
    let through = keepAgeMs === undefined ? 0 : await archive.positionBefore(Date.now() - keepAgeMs)
    if (keepBytes !== undefined) through = Math.max(through, await archive.positionBeyond(keepBytes))
    if (!archive.segments.slice(0, -1).some(({ last }) => last <= through)) return
    // What is kept must be foldable: onto the state as it was at some position after the last that goes.
    if (snapshots.newest < through) await snapshots.take(log.documents)
    const dropped = await archive.drop(through)
    const last = dropped.at(-1)?.last
    if (last === undefined) return
    const bytes = dropped.reduce((sum, segment) => sum + segment.bytes, 0)
    logger.info({ through: last, segments: dropped.length, bytes }, 'old segments dropped')
    const data = { through: last, segments: dropped.length, bytes }
    const fact = { aggregate: 'log', id: 'node', type: 'log.segments-dropped', data }
    await log.record([fact], 'default', spontaneous('retention'))
  }

  async #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#sealing.catch(() => {}).then(work)
    this.#sealing = result
    return await result
  }
}

const timeOf = (json: string | undefined): number => Date.parse(String(JSON.parse(json ?? '{}').time))

const altered = (position: number): PurserError =>
  new PurserError('data_loss', `event ${position} in Redis is not the one that was appended`, {
    remedy: `nothing is sealed until that is resolved, with purser log restore --without ${position}: see docs/audit.md, "An altered tail"`,
  })
