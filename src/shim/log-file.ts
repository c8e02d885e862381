import { constants, writeSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { errnoOf } from '../host/syscalls.ts'
import { encodeLog } from './log-format.ts'
import type { LogTail } from './log-reader.ts'
import { waitFor } from './wait-for.ts'

/** Up to here a write is made at once, on this thread: copying it to the page cache takes microseconds. */
const DIRECT_BYTES_MAX = 8 * 1024

/** What may wait to be written before the writer must pause. */
const BACKLOG_BYTES_MAX = 1024 * 1024

const RETRY_MS = 500

/** Appends what a process writes to its log, in CRI format. Entries are written as they come; none waits for its line. */
export class LogFile implements LogTail {
  readonly path: string
  readonly #file: FileHandle
  readonly #logger: Pick<Logger, 'warn'>
  readonly #stop = new AbortController()
  #backlog: Buffer[] = []
  #backlogBytes = 0
  #writing: Promise<void> | undefined
  #sizeBytes: number
  #ended = false
  #grown = Promise.withResolvers<void>()

  private constructor(path: string, file: FileHandle, sizeBytes: number, logger: Pick<Logger, 'warn'>) {
    this.path = path
    this.#file = file
    this.#sizeBytes = sizeBytes
    this.#logger = logger
  }

  /** Opens to append; an entry that a crash cut short is closed with a newline, and is no entry to a reader. */
  static async open(path: string, logger: Pick<Logger, 'warn'>): Promise<LogFile> {
    const file = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_APPEND, 0o640)
    try {
      let { size } = await file.stat()
      if (size > 0) {
        const { buffer } = await file.read(Buffer.alloc(1), 0, 1, size - 1)
        if (buffer[0] !== 0x0a) size += (await file.write('\n')).bytesWritten
      }
      return new LogFile(path, file, size, logger)
    } catch (error) {
      await file.close()
      throw error
    }
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  get ended(): boolean {
    return this.#ended
  }

  /** @returns whether more may come now; if not, await {@link drained} first */
  append(stream: 'stdout' | 'stderr', chunk: Buffer): boolean {
    if (this.#ended) return true
    let entries = encodeLog(stream, chunk, Date.now())
    if (!this.#writing && entries.length <= DIRECT_BYTES_MAX) entries = this.#writeDirectly(entries)
    if (entries.length > 0) {
      this.#backlog.push(entries)
      this.#backlogBytes += entries.length
      this.#writing ??= this.#writeBacklog()
    }
    return this.#backlogBytes < BACKLOG_BYTES_MAX
  }

  /** Fulfilled when all that was appended is in the file, or given up. */
  async drained(): Promise<void> {
    while (this.#writing) await this.#writing
  }

  /** Fulfilled when the file is longer than `pastBytes`, or when nothing more comes. */
  async grown(pastBytes: number, signal: AbortSignal): Promise<void> {
    if (this.#sizeBytes > pastBytes || this.#ended) return
    await waitFor(this.#grown.promise, signal)
  }

  /** Writes what is left and closes; a full disk does not hold it up. */
  async close(): Promise<void> {
    this.#stop.abort()
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
      this.#announce()
      return entries.subarray(written)
    } catch {
      return entries // The way through the backlog says what is wrong, and tries again.
    }
  }

  async #writeBacklog(): Promise<void> {
    while (this.#backlog.length > 0) {
      const all = this.#backlog.length === 1 ? this.#backlog[0] : Buffer.concat(this.#backlog)
      if (!all) break
      this.#backlog = []
      const rest = await this.#write(all)
      this.#backlogBytes -= all.length - rest.length
      if (rest.length > 0) this.#backlog.unshift(rest)
    }
    this.#writing = undefined
  }

  /** @returns what is to be tried again */
  async #write(entries: Buffer): Promise<Buffer> {
    try {
      const { bytesWritten } = await this.#file.write(entries)
      this.#sizeBytes += bytesWritten
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

  #announce(): void {
    this.#grown.resolve()
    this.#grown = Promise.withResolvers<void>()
  }
}
