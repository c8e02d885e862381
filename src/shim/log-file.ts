import { closeSync, constants, fstatSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { errnoOf } from '../host/syscalls.ts'
import { whileWanted } from '../model/concurrency.ts'
import { encodeLog } from './log-format.ts'
import type { LogHold, LogTail } from './log-reader.ts'
import { idOf, type LogPosition, type LogSegment, segmentPath, segmentsAt } from './log-segments.ts'

/** Up to here a write is made at once, on this thread: copying it to the page cache takes microseconds. */
const DIRECT_BYTES_MAX = 8 * 1024

/** What may wait to be written before the writer must pause. */
const BACKLOG_BYTES_MAX = 1024 * 1024

const RETRY_MS = 500

/** Read at once, from the end, to see where the last entry ends. */
const BLOCK_BYTES = 64 * 1024

const NEWLINE = 0x0a

const FLAGS = constants.O_RDWR | constants.O_CREAT | constants.O_APPEND

/** How much of a log is kept. */
export interface LogLimits {
  /** Of one file; then it is renamed, and another one begun. */
  maxBytes: number
  /** With the one that is written to. */
  filesMax: number
}

export const UNLIMITED_LOG: LogLimits = { maxBytes: Number.POSITIVE_INFINITY, filesMax: 1 }

/** So many times the files that are kept, there are at most: then the writer waits for those who hold on to old ones. */
const HELD_FACTOR = 2

/** Pieces that are no longer than a file may be, but for single lines that are. */
function cutAtLines(entries: Buffer, bytesMax: number): Buffer[] {
  const pieces: Buffer[] = []
  let rest = entries
  while (rest.length > bytesMax) {
    const end = rest.lastIndexOf(NEWLINE, bytesMax - 1) + 1 || rest.indexOf(NEWLINE) + 1 || rest.length
    pieces.push(rest.subarray(0, end))
    rest = rest.subarray(end)
  }
  return rest.length > 0 ? [...pieces, rest] : pieces
}

/** Where the last newline of a file ends. */
async function endOfEntries(file: FileHandle, sizeBytes: number): Promise<number> {
  const block = Buffer.allocUnsafe(BLOCK_BYTES)
  for (let end = sizeBytes; end > 0; end = Math.max(0, end - BLOCK_BYTES)) {
    const start = Math.max(0, end - BLOCK_BYTES)
    const { bytesRead } = await file.read(block, 0, end - start, start)
    const at = block.subarray(0, bytesRead).lastIndexOf(NEWLINE)
    if (at >= 0) return start + at + 1
  }
  return 0
}

/** Appends what a process writes to its log, in CRI format. Entries are written as they come; none waits for its line. */
export class LogFile implements LogTail {
  readonly path: string
  readonly #limits: LogLimits
  #file: FileHandle
  #id: string
  /** What was written ends within an entry: the rest must go into the same file. */
  #isCut = false
  readonly #holds = new Map<object, string>()
  readonly #logger: Pick<Logger, 'warn'>
  readonly #stop = new AbortController()
  #backlog: Buffer[] = []
  #backlogBytes = 0
  #writing: Promise<void> | undefined
  #sizeBytes: number
  #ended = false
  #grown = Promise.withResolvers<void>()
  #moved = Promise.withResolvers<void>()

  private constructor(
    path: string,
    file: FileHandle,
    { size, id }: { size: number; id: string },
    limits: LogLimits,
    logger: Pick<Logger, 'warn'>,
  ) {
    this.path = path
    this.#file = file
    this.#sizeBytes = size
    this.#id = id
    this.#limits = limits
    this.#logger = logger
  }

  /** Opens to append; an entry that a crash cut short goes. */
  static async open(path: string, logger: Pick<Logger, 'warn'>, limits: LogLimits = UNLIMITED_LOG): Promise<LogFile> {
    const file = await open(path, FLAGS, 0o640)
    try {
      const status = await file.stat()
      const size = await endOfEntries(file, status.size)
      if (size < status.size) await file.truncate(size)
      return new LogFile(path, file, { size, id: idOf(status) }, limits, logger)
    } catch (error) {
      await file.close()
      throw error
    }
  }

  /** Of the file that is written to. */
  get sizeBytes(): number {
    return this.#sizeBytes
  }

  get position(): LogPosition {
    return { id: this.#id, offset: this.#sizeBytes }
  }

  get ended(): boolean {
    return this.#ended
  }

  /** @returns whether more may come now; if not, await {@link drained} first */
  append(stream: 'stdout' | 'stderr', chunk: Buffer): boolean {
    if (this.#ended) return true
    let entries = encodeLog(stream, chunk, Date.now())
    if (!this.#writing && entries.length <= DIRECT_BYTES_MAX && this.#hasRoom(entries.length))
      entries = this.#writeDirectly(entries)
    if (entries.length > 0) {
      this.#backlog.push(...cutAtLines(entries, this.#limits.maxBytes))
      this.#backlogBytes += entries.length
      this.#writing ??= this.#writeBacklog()
    }
    return this.#backlogBytes < BACKLOG_BYTES_MAX && !this.#isHeldUp()
  }

  /** All that was appended is in the file, or given up. */
  get isWritten(): boolean {
    return this.#writing === undefined
  }

  /** Fulfilled when that is so. */
  async written(): Promise<void> {
    while (this.#writing) await this.#writing
  }

  /** Fulfilled when more may come, too. */
  async drained(): Promise<void> {
    await this.written()
    while (this.#isHeldUp()) await this.#moved.promise
  }

  async grown(past: LogPosition, signal: AbortSignal): Promise<void> {
    if (this.#id !== past.id || this.#sizeBytes > past.offset || this.#ended) return
    await whileWanted(this.#grown.promise, signal)
  }

  hold(at: string): LogHold {
    const key = {}
    this.#holds.set(key, at)
    const changed = () => {
      this.#prune(this.#limits.filesMax)
      this.#moved.resolve()
      this.#moved = Promise.withResolvers<void>()
    }
    return {
      moveTo: (id) => {
        if (this.#holds.get(key) === id) return
        this.#holds.set(key, id)
        changed()
      },
      [Symbol.dispose]: () => {
        this.#holds.delete(key)
        changed()
      },
    }
  }

  /** Writes what is left and closes; a full disk does not hold it up. */
  async close(): Promise<void> {
    this.#stop.abort()
    this.#moved.resolve()
    await this.drained()
    if (this.#ended) return
    this.#ended = true
    this.#announce()
    await this.#file.close()
  }

  #writeDirectly(entries: Buffer): Buffer {
    try {
      const written = writeSync(this.#file.fd, entries)
      this.#sizeBytes += written
      this.#isCut = written < entries.length
      this.#announce()
      return entries.subarray(written)
    } catch {
      return entries // The way through the backlog says what is wrong, and tries again.
    }
  }

  async #writeBacklog(): Promise<void> {
    while (this.#backlog.length > 0) {
      if (!this.#hasRoom(this.#backlog[0]?.length ?? 0)) await this.#rotate()
      const all = this.#takeBatch()
      const rest = await this.#write(all)
      this.#backlogBytes -= all.length - rest.length
      if (rest.length > 0) this.#backlog.unshift(rest)
    }
    this.#writing = undefined
  }

  /** As much as the file has room for; one piece at least. */
  #takeBatch(): Buffer {
    let bytes = 0
    const count = this.#backlog.findIndex(({ length }, index) => {
      bytes += length
      return index > 0 && this.#sizeBytes + bytes > this.#limits.maxBytes
    })
    const batch = this.#backlog.splice(0, count < 0 ? this.#backlog.length : count)
    return batch.length === 1 && batch[0] ? batch[0] : Buffer.concat(batch)
  }

  /** @returns what is to be tried again */
  async #write(entries: Buffer): Promise<Buffer> {
    try {
      const { bytesWritten } = await this.#file.write(entries)
      this.#sizeBytes += bytesWritten
      this.#isCut = bytesWritten < entries.length
      this.#announce()
      return entries.subarray(bytesWritten)
    } catch (err) {
      const isFull = errnoOf(err) === 'ENOSPC' || errnoOf(err) === 'EDQUOT'
      this.#logger.warn({ err, path: this.path, bytes: entries.length }, 'a container log cannot be written')
      // A full disk stops the container's output, not the container's record: it goes on when there is space.
      if (!isFull || this.#stop.signal.aborted) return Buffer.alloc(0)
      await delay(RETRY_MS, undefined, { signal: this.#stop.signal }).catch(() => {})
      return entries
    }
  }

  #hasRoom(bytes: number): boolean {
    return this.#isCut || this.#sizeBytes === 0 || this.#sizeBytes + bytes <= this.#limits.maxBytes
  }

  /** Whether somebody has not read what would have to go. */
  #isHeldUp(): boolean {
    if (this.#stop.signal.aborted || [...this.#holds.values()].every((id) => id === this.#id)) return false
    const segments = segmentsAt(this.path)
    return segments.length >= HELD_FACTOR * this.#limits.filesMax && this.#isHeld(segments[0]?.id ?? '')
  }

  #isHeld(id: string): boolean {
    return [...this.#holds.values()].includes(id)
  }

  /** Removes the oldest files that nobody holds on to. @returns those that are left */
  #prune(filesMax: number): LogSegment[] {
    const segments = segmentsAt(this.path)
    for (let [oldest] = segments; oldest && segments.length > filesMax; [oldest] = segments) {
      if (this.#isHeld(oldest.id) || oldest.id === this.#id) break
      rmSync(oldest.path, { force: true })
      segments.shift()
    }
    return segments
  }

  /**
   * Begins another file. All names change in one turn of the event loop, so that a reader sees them before or after; the oldest
   * files go, but for those that somebody still reads, and what comes after them.
   */
  async #rotate(): Promise<void> {
    const before = this.#file
    try {
      const segments = this.#prune(this.#limits.filesMax - 1)
      // One file is kept: what was in it goes, but for whoever holds on to it.
      if (this.#limits.filesMax === 1 && !this.#isHeld(this.#id)) rmSync(this.path, { force: true })
      else
        for (const [index, { path }] of segments.entries())
          renameSync(path, segmentPath(this.path, segments.length - index))
      const fd = openSync(this.path, FLAGS, 0o640)
      this.#id = idOf(fstatSync(fd))
      closeSync(fd)
      this.#sizeBytes = 0
      this.#file = await open(this.path, FLAGS, 0o640)
      await before.close()
      this.#announce()
    } catch (err) {
      this.#logger.warn({ err, path: this.path }, 'a container log cannot be rotated') // It goes on as it is.
    }
  }

  #announce(): void {
    this.#grown.resolve()
    this.#grown = Promise.withResolvers<void>()
  }
}
