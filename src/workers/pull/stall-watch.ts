import { PurserError } from '../../model/errors.ts'
import type { WantedBlob } from './transfers.ts'

export interface StallLimit {
  /** At least so many bytes of the image have to arrive in this time. */
  bytesMin: number
  timeoutMs: number
}

/**
 * Watches the bytes of an image, however many requests they come by: a registry that keeps each of them alive with a byte now
 * and then is asked anew, and counts as one that has failed. Time in which a pull waits for anything else does not count.
 */
export class StallWatch implements Disposable {
  readonly #limit: StallLimit
  readonly #wanted = new Set<WantedBlob>()
  readonly #timer: NodeJS.Timeout
  #waitedMs = 0
  #lookedAt = performance.now()
  #bytesAtBegin = 0
  #bytesOfEnded = 0

  constructor(limit: StallLimit) {
    this.#limit = limit
    this.#timer = setInterval(() => this.#look(), Math.min(1000, limit.timeoutMs / 10))
  }

  add(blob: WantedBlob): Disposable {
    this.#wanted.add(blob)
    return {
      [Symbol.dispose]: () => {
        if (this.#wanted.delete(blob)) this.#bytesOfEnded += blob.arrivedBytes
      },
    }
  }

  #look(): void {
    const now = performance.now()
    const sinceMs = now - this.#lookedAt
    this.#lookedAt = now
    const waiting = [...this.#wanted].filter((blob) => blob.isWaitingForSource)
    const bytes = [...this.#wanted].reduce((sum, blob) => sum + blob.arrivedBytes, this.#bytesOfEnded)
    if (bytes - this.#bytesAtBegin >= this.#limit.bytesMin) this.#begin(bytes)
    else if (waiting.length > 0) this.#waitedMs += sinceMs
    if (this.#waitedMs < this.#limit.timeoutMs) return
    const seconds = Math.round(this.#waitedMs / 1000)
    const error = new PurserError(
      'unavailable',
      `the image's bytes stand still: ${bytes - this.#bytesAtBegin} came in ${seconds} s`,
      { remedy: 'try again later, or use another registry or mirror: it goes on where it ended' },
    )
    for (const blob of waiting) blob.restart(error)
    this.#begin(bytes)
  }

  #begin(bytes: number): void {
    this.#bytesAtBegin = bytes
    this.#waitedMs = 0
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }
}
