import { closeSync, constants, openSync, readFileSync, writeSync } from 'node:fs'
import { readLogBlocks } from './log-reader.ts'
import type { LogPosition } from './log-segments.ts'

/** So much of each stream was in the log when the log ended there. */
export interface Mark {
  stdout: number
  stderr: number
  position: LogPosition
}

/** Marks are of one size: a later one replaces all of an earlier one, in one write. */
const MARK_BYTES = 128

const format = ({ stdout, stderr, position }: Mark): string =>
  `${stdout} ${stderr} ${position.offset} ${position.id}`.padEnd(MARK_BYTES)

function parse(text: string): Mark | undefined {
  const [, stdout, stderr, offset, id = ''] = /^(\d+) (\d+) (\d+) (\S+) *$/.exec(text) ?? []
  return id === ''
    ? undefined
    : { stdout: Number(stdout), stderr: Number(stderr), position: { id, offset: Number(offset) } }
}

/** Where a process notes, now and then, how much of its streams is in the log. */
export class MarkFile implements Disposable {
  readonly #fd: number
  /** What an earlier process noted last. */
  readonly before: Mark | undefined

  constructor(path: string) {
    this.#fd = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600)
    this.before = parse(readFileSync(this.#fd, 'utf8'))
  }

  write(next: Mark): void {
    writeSync(this.#fd, format(next), 0)
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd)
  }
}

/** How much of each stream is in the log now: what was at the mark, and what was written since. */
export async function loggedSince({ stdout, stderr, position }: Mark, path: string): Promise<Omit<Mark, 'position'>> {
  const logged = { stdout, stderr }
  const { signal } = new AbortController()
  for await (const entries of readLogBlocks(path, { from: position, signal })) {
    for (const { stream, data } of entries) logged[stream] += data.length
  }
  return logged
}
