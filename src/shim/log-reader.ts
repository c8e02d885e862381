import { type FileHandle, open } from 'node:fs/promises'
import { decodeLog, type LogEntry } from './log-format.ts'

/** A log that is being written: how far it is, and when it goes on. */
export interface LogTail {
  readonly sizeBytes: number
  /** Nothing more comes. */
  readonly ended: boolean
  grown(pastBytes: number, signal: AbortSignal): Promise<void>
}

export interface ReadLogOptions {
  signal: AbortSignal
  /** Where to begin, in bytes: 0, or the `endOffset` of an entry. */
  fromOffset?: number
  /** Only the last so many lines of what is there. */
  tailLines?: number
  /** Only entries of this time or later, in Unix milliseconds. */
  sinceMs?: number
  /** Goes on with what is appended, until the log ends. Without it, reading stops where the file does. */
  follow?: LogTail
}

const BLOCK_BYTES = 64 * 1024

/** The longest line that is taken for an entry: more than any single read from a process gives. */
const LINE_BYTES_MAX = 1024 * 1024

const NEWLINE = 0x0a

/** The entries of a log file, in the order they were written. An entry that is still being written waits. */
export async function* readLog(path: string, options: ReadLogOptions): AsyncGenerator<LogEntry, void, void> {
  for await (const entries of readLogBlocks(path, options)) yield* entries
}

/** As {@link readLog}, many entries at a time: for those that pass on bytes, a promise for each line would cost most. */
export async function* readLogBlocks(path: string, options: ReadLogOptions): AsyncGenerator<LogEntry[], void, void> {
  const { signal, follow, sinceMs } = options
  const since = sinceMs === undefined ? '' : new Date(sinceMs).toISOString().slice(0, -1)
  await using file = await open(path, 'r')
  // A consumer that was aborted may never come back for the end of this generator.
  const onAbort = () => void file.close()
  signal.addEventListener('abort', onAbort, { once: true })
  using _ = { [Symbol.dispose]: () => signal.removeEventListener('abort', onAbort) }
  let offset = options.fromOffset ?? 0
  if (options.tailLines !== undefined) offset = Math.max(offset, await offsetOfTail(file, options.tailLines, signal))
  const lines = new LineCutter(offset)
  for (;;) {
    signal.throwIfAborted()
    const ended = follow?.ended ?? true // Asked before reading: what was written before the end is then read.
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(BLOCK_BYTES), 0, BLOCK_BYTES, offset)
    offset += bytesRead
    const entries: LogEntry[] = []
    for (const { line, endOffset } of lines.push(buffer.subarray(0, bytesRead))) {
      const entry = decodeLog(line, endOffset)
      if (entry && entry.time >= since) entries.push(entry)
    }
    if (entries.length > 0) yield entries
    if (bytesRead > 0) continue
    if (ended || !follow) return
    await follow.grown(offset, signal)
  }
}

/** Where the last `count` lines begin: behind the end of the line before them. A last line without an end counts too. */
async function offsetOfTail(file: FileHandle, count: number, signal: AbortSignal): Promise<number> {
  const { size } = await file.stat()
  if (count <= 0) return size
  let found = 0
  let isLast = true
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
      const entry = decodeLog(block.subarray(lineStart, lineEnd), start + lineEnd)
      if (entry && (!entry.partial || isLast)) {
        if (found === count) return start + lineEnd
        found += 1
      }
      if (entry) isLast = false
      lineEnd = lineStart
    }
    head = block.subarray(0, Math.min(lineEnd, LINE_BYTES_MAX))
    end = start
  }
  return 0
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
