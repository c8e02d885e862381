import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { errnoOf, punchHole, spliceToFile } from '../host/syscalls.ts'
import { PurserError } from '../model/errors.ts'
import { Readability } from './readability.ts'

/** What is moved at once, and may wait to be taken before no more is. */
const PIECE_BYTES = 128 * 1024

const PAGE_BYTES = 4096

const RETRY_MS = 500

/** What was taken last, of any spool: good until something is taken again. */
const piece = Buffer.allocUnsafeSlow(PIECE_BYTES)

/**
 * What came out of a pipe and is not in the log yet, in a file that outlives this process. The kernel moves it there: at no
 * instant is a byte in neither of the two, or in both. Its place in the file is its place in the stream; what is in the log is
 * given back, and leaves a hole.
 */
export class Spool implements Disposable {
  readonly #pipe: number
  readonly #fd: number
  readonly #readability: Readability
  #sizeBytes: number
  #takenBytes = 0
  #freedBytes = 0
  #hasEnded = false
  #isPaused = false
  #changed = Promise.withResolvers<void>()

  /**
   * @param pipe closed by this spool
   * @param path of the file, which goes on where an earlier process has left it
   * @throws PurserError failed_precondition where the file system has no holes
   */
  constructor(pipe: number, path: string) {
    this.#pipe = pipe
    this.#fd = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600)
    try {
      this.#sizeBytes = fstatSync(this.#fd).size
      if (this.#sizeBytes === 0) punchHole(this.#fd, PAGE_BYTES)
      this.#readability = new Readability(pipe, () => this.#fill())
    } catch (error) {
      closeSync(this.#fd)
      if (errnoOf(error) !== 'ENOTSUP') throw error
      throw new PurserError('failed_precondition', `the file system of ${path} cannot give back parts of a file`, {
        cause: error,
        remedy: 'choose a state directory on tmpfs, ext4, xfs or btrfs: --state',
      })
    }
  }

  /** How much of the stream was taken. */
  get takenBytes(): number {
    return this.#takenBytes
  }

  /** Nothing more comes than what can be taken. */
  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /** What an earlier process has taken is not taken again. */
  skipTo(bytes: number): void {
    this.#takenBytes = Math.min(bytes, this.#sizeBytes)
  }

  /** @returns a piece, to be used at once; empty when there is nothing */
  take(): Buffer {
    const bytes = readSync(this.#fd, piece, 0, Math.min(PIECE_BYTES, this.#waitingBytes()), this.#takenBytes)
    this.#takenBytes += bytes
    if (this.#isPaused && this.#waitingBytes() < PIECE_BYTES) this.#resume()
    return piece.subarray(0, bytes)
  }

  /** Fulfilled when there is more, or nothing more comes. */
  async filled(): Promise<void> {
    if (this.#waitingBytes() === 0 && !this.#hasEnded) await this.#changed.promise
  }

  /** Gives back the space of what was taken. */
  free(): void {
    const bytes = this.#takenBytes - (this.#takenBytes % PAGE_BYTES)
    if (bytes === this.#freedBytes) return
    punchHole(this.#fd, bytes)
    this.#freedBytes = bytes
  }

  /** Takes no more out of the pipe; what is there already can be taken. */
  stop(): void {
    this.#hasEnded = true
    this.#readability[Symbol.dispose]()
    this.#announce()
  }

  [Symbol.dispose](): void {
    this.stop()
    this.#takenBytes = this.#sizeBytes // Nothing can be taken of a file that is closed.
    closeSync(this.#fd)
  }

  #waitingBytes(): number {
    return this.#sizeBytes - this.#takenBytes
  }

  #fill(): void {
    try {
      const moved = spliceToFile(this.#pipe, this.#fd, this.#sizeBytes, PIECE_BYTES)
      if (moved === undefined) return
      this.#sizeBytes += moved
      if (moved === 0) this.stop()
      else if (this.#waitingBytes() >= PIECE_BYTES) this.#pause()
      this.#announce()
    } catch {
      // A full disk stops the output, and loses none: it goes on when there is space.
      this.#pause()
      setTimeout(() => this.#resume(), RETRY_MS).unref()
    }
  }

  #pause(): void {
    this.#isPaused = true
    this.#readability.pause()
  }

  #resume(): void {
    if (this.#hasEnded) return
    this.#isPaused = false
    this.#readability.resume()
  }

  #announce(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers<void>()
  }
}
