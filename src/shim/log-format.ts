import type { LogPosition } from './log-segments.ts'

/** A piece of what a process wrote. */
export interface LogEntry {
  /** RFC 3339 with nanoseconds: when it was read. */
  time: string
  stream: 'stdout' | 'stderr'
  /** Whether the line goes on in the next entry of this stream. */
  partial: boolean
  /** Byte for byte as written: with the line's end, unless the entry is partial. */
  data: Buffer
  /** Where the next entry begins. */
  end: LogPosition
}

const NEWLINE = 0x0a
const SPACE = 0x20
const PARTIAL = 0x50
const FULL = 0x46

/**
 * What a process wrote, as entries of a CRI log: one for each line, and a last one marked partial when it does not end
 * with a line.
 *
 * @see Kubernetes, kuberuntime/logs, "parseCRILog"
 */
export function encodeLog(stream: 'stdout' | 'stderr', chunk: Buffer, nowMs: number): Buffer {
  const time = new Date(nowMs).toISOString().replace('Z', '000000Z')
  const full = Buffer.from(`${time} ${stream} F `)
  const lines: [start: number, end: number][] = []
  let start = 0
  for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
    lines.push([start, end + 1])
    start = end + 1
  }
  const isPartial = start < chunk.length
  const count = lines.length + (isPartial ? 1 : 0)
  const out = Buffer.allocUnsafe(chunk.length + count * full.length + (isPartial ? 1 : 0))
  let at = 0
  for (const [from, to] of lines) {
    at += full.copy(out, at)
    at += chunk.copy(out, at, from, to)
  }
  if (isPartial) {
    at += full.copy(out, at)
    out[at - 2] = PARTIAL
    at += chunk.copy(out, at, start)
    out[at] = NEWLINE
  }
  return out
}

/**
 * One entry, from its line in the file.
 *
 * @param line with its newline
 * @returns undefined for a line that is none, such as one that a full disk cut short
 */
export function decodeLog(line: Buffer, end: LogPosition): LogEntry | undefined {
  const afterTime = line.indexOf(SPACE)
  const afterStream = afterTime < 0 ? -1 : line.indexOf(SPACE, afterTime + 1)
  const afterTag = afterStream < 0 ? -1 : line.indexOf(SPACE, afterStream + 1)
  if (afterTag < 0) return undefined
  const stream = line.toString('latin1', afterTime + 1, afterStream)
  const tag = line[afterStream + 1]
  if ((stream !== 'stdout' && stream !== 'stderr') || (tag !== PARTIAL && tag !== FULL)) return undefined
  const partial = tag === PARTIAL
  const data = line.subarray(afterTag + 1, partial ? line.length - 1 : line.length)
  return { time: line.toString('latin1', 0, afterTime), stream, partial, data, end }
}
