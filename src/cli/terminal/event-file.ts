import { closeSync, existsSync, fstatSync, ftruncateSync, openSync, readSync, renameSync, writeSync } from 'node:fs'
import type { StoredEvent } from '../../client/index.ts'
import { PurserError } from '../../model/errors.ts'

const CHUNK_BYTES = 64 * 1024
const NEWLINE = 0x0a

/**
 * Events at the end of a file, one a line, so that whoever ships them can stop and go on: the file itself says which came
 * last. A full one becomes FILE.1, and the one before that is gone.
 */
export class EventFile implements Disposable {
  readonly #path: string
  readonly #bytesMax: number
  #fd: number
  #bytes: number
  /** Position of the last event in it; undefined when it has none. */
  readonly last: number | undefined

  /** A line that a crash cut short is taken away. @throws PurserError when it holds something else, or cannot be written */
  constructor(path: string, bytesMax: number) {
    this.#path = path
    this.#bytesMax = bytesMax
    this.#fd = openToAppend(path)
    this.#bytes = endOfLines(this.#fd)
    ftruncateSync(this.#fd, this.#bytes)
    this.last = lastPosition(this.#fd, this.#bytes, path) ?? lastOfFile(`${path}.1`)
  }

  append(event: StoredEvent): void {
    const line = Buffer.from(`${JSON.stringify(event)}\n`)
    if (this.#bytes > 0 && this.#bytes + line.length > this.#bytesMax) {
      closeSync(this.#fd)
      renameSync(this.#path, `${this.#path}.1`)
      this.#fd = openToAppend(this.#path)
      this.#bytes = 0
    }
    for (let written = 0; written < line.length; ) written += writeSync(this.#fd, line, written)
    this.#bytes += line.length
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd)
  }
}

function openToAppend(path: string): number {
  try {
    return openSync(path, 'a+', 0o640)
  } catch (cause) {
    throw new PurserError('invalid_argument', `--append: ${path} cannot be written to`, {
      cause,
      remedy: 'name a file in a directory that is there',
    })
  }
}

/** Where the last whole line ends. */
function endOfLines(fd: number): number {
  const { size } = fstatSync(fd)
  return lastNewline(fd, size) + 1
}

/** Offset of the last newline before another offset; -1 when there is none. */
function lastNewline(fd: number, before: number): number {
  const chunk = Buffer.alloc(CHUNK_BYTES)
  for (let end = before; end > 0; ) {
    const start = Math.max(0, end - CHUNK_BYTES)
    const at = chunk.subarray(0, readSync(fd, chunk, 0, end - start, start)).lastIndexOf(NEWLINE)
    if (at >= 0) return start + at
    end = start
  }
  return -1
}

/** @param end where the last line ends, after its newline */
function lastPosition(fd: number, end: number, path: string): number | undefined {
  if (end === 0) return undefined
  const start = lastNewline(fd, end - 1) + 1
  const line = Buffer.alloc(end - start)
  readSync(fd, line, 0, line.length, start)
  const position = positionOf(line.toString())
  if (position !== undefined) return position
  throw new PurserError('failed_precondition', `--append: the last line of ${path} is no event`, {
    remedy: 'name a file that holds events only',
  })
}

function positionOf(line: string): number | undefined {
  try {
    const value: unknown = JSON.parse(line)
    if (typeof value !== 'object' || value === null || !('position' in value)) return undefined
    return typeof value.position === 'number' && Number.isSafeInteger(value.position) ? value.position : undefined
  } catch {
    return undefined // Not even JSON.
  }
}

function lastOfFile(path: string): number | undefined {
  if (!existsSync(path)) return undefined
  const fd = openSync(path, 'r')
  try {
    return lastPosition(fd, endOfLines(fd), path)
  } finally {
    closeSync(fd)
  }
}
