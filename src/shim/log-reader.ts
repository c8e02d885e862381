import type { FileHandle } from 'node:fs/promises'
import { decodeLog, type LogEntry } from './log-format.ts'
import { type LogPosition, type LogSegment, openSegment, segmentsAt } from './log-segments.ts'

/** A log that is being written: how far it is, and when it goes on. */
export interface LogTail {
  /** Of the file that is written to. */
  readonly position: LogPosition
  /** Nothing more comes. */
  readonly ended: boolean
  /** Fulfilled when there is more than that, or nothing more comes. */
  grown(past: LogPosition, signal: AbortSignal): Promise<void>
  /** Keeps what a reader has still to read: rather than losing it, the writer waits. */
  hold(at: string): LogHold
}

export interface LogHold extends Disposable {
  /** Files before that one are not needed any more. @param id of the file that is read now */
  moveTo(id: string): void
}

export interface ReadLogOptions {
  signal: AbortSignal
  /** Where to begin; what has gone since is left out. */
  from?: LogPosition
  /** Only the last so many lines of what is there. */
  tailLines?: number
  /** Only entries of this time or later, in Unix milliseconds. */
  sinceMs?: number
  /** Only entries before that time. */
  untilMs?: number
  /** Goes on with what is appended, until the log ends. Without it, reading stops where the file does. */
  follow?: LogTail
  /** With follow, whether what a slow reader has not read yet may be dropped by rotation. */
  unread?: 'may-go' | 'stays'
  /** Called when files have gone that this reader had still to read. */
  onLost?: () => void
}

const BLOCK_BYTES = 64 * 1024

/** The longest line that is taken for an entry: more than any single read from a process gives. */
const LINE_BYTES_MAX = 1024 * 1024

const NEWLINE = 0x0a

/** The entries of a log, in the order they were written. An entry that is still being written waits. */
export async function* readLog(path: string, options: ReadLogOptions): AsyncGenerator<LogEntry, void, void> {
  for await (const entries of readLogBlocks(path, options)) yield* entries
}

/** As {@link readLog}, many entries at a time: for those that pass on bytes, a promise for each line would cost most. */
export async function* readLogBlocks(path: string, options: ReadLogOptions): AsyncGenerator<LogEntry[], void, void> {
  const { signal, follow, sinceMs, untilMs } = options
  const [since, until] = [sinceMs, untilMs].map((ms) =>
    ms === undefined ? '' : new Date(ms).toISOString().slice(0, -1),
  )
  await using reader = new SegmentReader(path)
  using hold = follow && options.unread === 'stays' ? follow.hold(segmentsAt(path)[0]?.id ?? '') : undefined
  // A consumer that was aborted may never come back for the end of this generator.
  const onAbort = () => {
    void reader.close()
    hold?.[Symbol.dispose]()
  }
  signal.addEventListener('abort', onAbort, { once: true })
  using _ = { [Symbol.dispose]: () => signal.removeEventListener('abort', onAbort) }
  const begin = options.tailLines === undefined ? options.from : await positionOfTail(path, options.tailLines, signal)
  await reader.begin(begin, options.onLost)
  hold?.moveTo(reader.id)
  let lines = new LineCutter(reader.offset)
  for (;;) {
    signal.throwIfAborted()
    // Asked before reading: what was written before is then read.
    const ended = follow?.ended ?? true
    const isLast = reader.isLast(follow)
    const block = await reader.read()
    const entries: LogEntry[] = []
    let isOver = false
    for (const { line, endOffset } of lines.push(block)) {
      const entry = decodeLog(line, { id: reader.id, offset: endOffset })
      if (until !== '' && until !== undefined && entry && entry.time >= until) isOver = true
      else if (entry && entry.time >= (since ?? '')) entries.push(entry)
    }
    if (entries.length > 0) yield entries
    if (isOver) return
    if (block.length > 0) continue
    if (!isLast) {
      await reader.next(options.onLost)
      hold?.moveTo(reader.id)
      lines = new LineCutter(reader.offset)
      continue
    }
    if (ended || !follow) return
    await follow.grown({ id: reader.id, offset: reader.offset }, signal)
  }
}

/** Reads one file of a log after the other. */
class SegmentReader implements AsyncDisposable {
  id = ''
  offset = 0
  readonly #path: string
  #file: FileHandle | undefined
  #isClosed = false

  constructor(path: string) {
    this.#path = path
  }

  async begin(from: LogPosition | undefined, onLost: (() => void) | undefined): Promise<void> {
    await this.#open((segments) => {
      const known = from && segments.find(({ id }) => id === from.id)
      if (from && !known) onLost?.()
      this.offset = known && from ? from.offset : 0
      return known ?? segments[0]
    })
  }

  /** Goes on with the file after this one; with the oldest there is, when this one has gone. */
  async next(onLost: (() => void) | undefined): Promise<void> {
    const { id } = this
    this.offset = 0
    await this.#open((segments) => {
      const at = segments.findIndex((each) => each.id === id)
      if (at < 0) onLost?.()
      return segments[at + 1]
    })
  }

  /** Whether there is no file after the one that is read. */
  isLast(follow: LogTail | undefined): boolean {
    if (follow) return follow.position.id === this.id
    return segmentsAt(this.#path).at(-1)?.id === this.id
  }

  async read(): Promise<Buffer> {
    if (!this.#file) return Buffer.alloc(0)
    const { bytesRead, buffer } = await this.#file.read(Buffer.allocUnsafe(BLOCK_BYTES), 0, BLOCK_BYTES, this.offset)
    this.offset += bytesRead
    return buffer.subarray(0, bytesRead)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#file?.close()
    this.#file = undefined
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #open(choose: (segments: LogSegment[]) => LogSegment | undefined): Promise<void> {
    for (;;) {
      const segment = choose(segmentsAt(this.#path))
      if (!segment) return
      const file = await openSegment(segment)
      if (!file) continue // It was renamed in between.
      await this.#file?.close()
      this.#file = file
      this.id = segment.id
      if (this.#isClosed) await this.close()
      return
    }
  }
}

/** Where the last `count` lines begin: behind the end of the line before them. A last line without an end counts too. */
async function positionOfTail(path: string, count: number, signal: AbortSignal): Promise<LogPosition | undefined> {
  const state = { found: 0, isLast: true }
  const segments = segmentsAt(path).reverse()
  for (const segment of segments) {
    const file = await openSegment(segment)
    if (!file) return await positionOfTail(path, count, signal) // It was renamed in between.
    await using _ = file
    const offset = await offsetOfTail(file, count, state, signal)
    if (offset !== undefined) return { id: segment.id, offset }
  }
  return undefined
}

/** Undefined when they begin before this file. */
async function offsetOfTail(
  file: FileHandle,
  count: number,
  state: { found: number; isLast: boolean },
  signal: AbortSignal,
): Promise<number | undefined> {
  const { size } = await file.stat()
  if (count <= 0) return size
  let head: Buffer = Buffer.alloc(0) // The beginning of the block that was read before this one: the end of our last line.
  for (let end = size; end > 0; ) {
    signal.throwIfAborted()
    const start = Math.max(0, end - BLOCK_BYTES)
    const { buffer } = await file.read(Buffer.allocUnsafe(end - start), 0, end - start, start)
    const block = Buffer.concat([buffer, head])
    let lineEnd = block.lastIndexOf(NEWLINE) + 1
    while (lineEnd > 0) {
      const lineStart = lineEnd === 1 ? 0 : block.lastIndexOf(NEWLINE, lineEnd - 2) + 1
      if (lineStart === 0 && start > 0) break // It may begin in the block before.
      const entry = decodeLog(block.subarray(lineStart, lineEnd), { id: '', offset: start + lineEnd })
      if (entry && (!entry.partial || state.isLast)) {
        if (state.found === count) return start + lineEnd
        state.found += 1
      }
      if (entry) state.isLast = false
      lineEnd = lineStart
    }
    head = block.subarray(0, Math.min(lineEnd, LINE_BYTES_MAX))
    end = start
  }
  return undefined
}

/** Cuts blocks into lines, and leaves out those that are too long to be entries. */
class LineCutter {
  #rest: Buffer = Buffer.alloc(0)
  #isSkipping = false
  #offset: number

  constructor(offset: number) {
    this.#offset = offset
  }

  *push(block: Buffer): Generator<{ line: Buffer; endOffset: number }> {
    let start = 0
    for (let end = block.indexOf(NEWLINE); end >= 0; end = block.indexOf(NEWLINE, start)) {
      const piece = block.subarray(start, end + 1)
      const line = this.#rest.length === 0 ? piece : Buffer.concat([this.#rest, piece])
      this.#offset += piece.length
      this.#rest = Buffer.alloc(0)
      if (!this.#isSkipping) yield { line, endOffset: this.#offset }
      this.#isSkipping = false
      start = end + 1
    }
    const rest = block.subarray(start)
    this.#offset += rest.length
    this.#isSkipping ||= this.#rest.length + rest.length > LINE_BYTES_MAX
    this.#rest = this.#isSkipping ? Buffer.alloc(0) : Buffer.concat([this.#rest, rest])
  }
}
