import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'

/** Where it is, beside an archive. */
export const headWitnessPath = (archiveDir: string): string => join(archiveDir, 'head')

/**
 * Remembers, outside of Redis, how far the log was acknowledged. It is written before each acknowledgement and never
 * fsynced: it outlives the daemon and Redis, and after a power cut it may be behind, but it is never ahead.
 */
export class HeadWitness implements Disposable {
  readonly #fd: number
  #position: number

  private constructor(fd: number, position: number) {
    this.#fd = fd
    this.#position = position
  }

  static open(path: string): HeadWitness {
    const position = readHeadWitness(path)
    // From now on of one length: what is written again needs no space on a full disk.
    if (position === undefined) writeFileSync(path, lineOf(0), { mode: 0o600 })
    return new HeadWitness(openSync(path, 'r+'), position ?? 0)
  }

  /** The highest position noted. */
  get position(): number {
    return this.#position
  }

  note(position: number): void {
    if (position <= this.#position) return
    this.#position = position
    try {
      writeSync(this.#fd, lineOf(position), 0)
    } catch {
      // The event is durable all the same; only that a loss of it would be noticed is put off to the next one.
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd)
  }
}

/** Twice, so that a damaged number is not believed. */
const lineOf = (position: number): string => `${digits(position)} ${digits(position)}\n`
const digits = (position: number): string => String(position).padStart(16, '0')

/** @returns undefined when there is none, or it is damaged */
export function readHeadWitness(path: string): number | undefined {
  try {
    const [, position, again] = /^(\d{16}) (\d{16})\n$/.exec(readFileSync(path, 'utf8')) ?? []
    return position === undefined || position !== again ? undefined : Number(position)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}
