import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { constants as zlib, zstdCompress, zstdDecompress } from 'node:zlib'
import type { Logger } from 'pino'
import { z } from 'zod'
import type { AnyAggregate } from '../model/aggregate.ts'
import { Documents } from './documents.ts'
import type { EventLog } from './event-log.ts'
import { CommandRetention } from './retention.ts'

export interface StateSnapshotsOptions {
  dir: string
  aggregates: ReadonlyMap<string, AnyAggregate>
  /** Events between two snapshots. */
  every: number
  logger: Logger
}

const line = z.tuple([z.string(), z.string(), z.string()])
const compress = promisify(zstdCompress)
const decompress = promisify(zstdDecompress)
const FOLDED_AT_ONCE = 2000

/**
 * The state at some positions, so that a moment long ago need not be folded from the beginning. They are not the truth: one
 * that is damaged or missing is made up for by the log, as long as that reaches back.
 */
export class StateSnapshots {
  readonly #options: StateSnapshotsOptions
  /** Positions, oldest first. */
  readonly #positions: number[]
  #writing: Promise<void> = Promise.resolve()

  private constructor(options: StateSnapshotsOptions, positions: number[]) {
    this.#options = options
    this.#positions = positions
  }

  static async open(options: StateSnapshotsOptions): Promise<StateSnapshots> {
    await mkdir(options.dir, { recursive: true, mode: 0o700 })
    const positions: number[] = []
    for (const name of await readdir(options.dir)) {
      const [, position] = /^(\d{16})\.ndjson\.zst$/.exec(name) ?? []
      if (position === undefined) await rm(join(options.dir, name), { force: true })
      else positions.push(Number(position))
    }
    return new StateSnapshots(
      options,
      positions.sort((a, b) => a - b),
    )
  }

  /** Takes one whenever so many events have passed. */
  follow(log: EventLog): Disposable {
    return log.listen(({ position }) => {
      if (position % this.#options.every === 0) void this.take(log.documents).catch(() => {})
    })
  }

  /** Position of the newest; 0 without one. */
  get newest(): number {
    return this.#positions.at(-1) ?? 0
  }

  /** Removes those taken at a position or later: events that they were folded from were lost. */
  async dropFrom(position: number): Promise<void> {
    const gone = this.#positions.filter((at) => at >= position)
    for (const at of gone) await rm(this.#path(at), { force: true })
    this.#positions.splice(this.#positions.length - gone.length)
  }

  /** Keeps the documents as they are at this instant. */
  async take(documents: Documents): Promise<void> {
    const { aggregates, logger } = this.#options
    const position = documents.head
    const lines: string[] = []
    for (const aggregate of aggregates.keys())
      for (const [field, value] of documents.serialised(aggregate))
        lines.push(JSON.stringify([aggregate, field, value]))
    this.#writing = this.#writing.then(() => this.#write(position, lines.join('\n')))
    await this.#writing.catch((err) => {
      logger.warn({ err, position }, 'a snapshot of the state could not be written')
      this.#writing = Promise.resolve()
      throw err
    })
  }

  /** The state after the event at a position. @throws what reading the log throws; the signal's reason */
  async at(log: EventLog, position: number, signal: AbortSignal): Promise<Documents> {
    return await this.advance(await this.#nearest(position), log, position, signal)
  }

  /** Folds on, from where documents stand. */
  async advance(documents: Documents, log: EventLog, position: number, signal: AbortSignal): Promise<Documents> {
    const retention = new CommandRetention(documents, () => {})
    retention.loaded()
    for await (const event of log.read(documents.head, position)) {
      documents.apply(event)
      retention.applied(event)
      if (event.position % FOLDED_AT_ONCE === 0) {
        await new Promise(setImmediate)
        signal.throwIfAborted()
      }
    }
    return documents
  }

  /** The oldest that the kept part of the log follows on, for a fold of all that is kept; empty documents otherwise. */
  async base(log: Pick<EventLog, 'sealed'>): Promise<Documents> {
    const first = log.sealed?.first ?? 1
    if (first === 1) return new Documents(this.#options.aggregates)
    for (const position of this.#positions) {
      const found = position >= first - 1 ? await this.#read(position) : undefined
      if (found) return found
    }
    return new Documents(this.#options.aggregates)
  }

  async #nearest(position: number): Promise<Documents> {
    for (const at of this.#positions.toReversed()) {
      const found = at <= position ? await this.#read(at) : undefined
      if (found) return found
    }
    return new Documents(this.#options.aggregates)
  }

  async #write(position: number, text: string): Promise<void> {
    if (this.#positions.includes(position)) return
    const path = this.#path(position)
    const bytes = await compress(text, { params: { [zlib.ZSTD_c_checksumFlag]: 1 } })
    await writeFile(`${path}.partial`, bytes, { mode: 0o600, flush: true })
    await rename(`${path}.partial`, path)
    this.#positions.push(position)
    this.#positions.sort((a, b) => a - b)
  }

  async #read(position: number): Promise<Documents | undefined> {
    try {
      const text = (await decompress(await readFile(this.#path(position)))).toString()
      const documents = new Documents(this.#options.aggregates)
      for (const each of text === '' ? [] : text.split('\n')) {
        const [aggregate, field, value] = line.parse(JSON.parse(each))
        documents.load(aggregate, field, value)
      }
      documents.head = position
      return documents
    } catch (err) {
      this.#options.logger.warn({ err, position }, 'a snapshot of the state is damaged: the log is folded instead')
      return undefined
    }
  }

  #path(position: number): string {
    return join(this.#options.dir, `${String(position).padStart(16, '0')}.ndjson.zst`)
  }
}
