/**
 * Bounds what a process writes in a second: what is more is dropped. A second's worth may come at once.
 *
 * @see "token bucket"
 */
export class OutputRate {
  readonly #bytesPerSecond: number
  #left: number
  #at: number

  constructor(bytesPerSecond: number, nowMs: number) {
    this.#bytesPerSecond = bytesPerSecond
    this.#left = bytesPerSecond
    this.#at = nowMs
  }

  /** How many of these bytes may pass. */
  take(bytes: number, nowMs: number): number {
    const filled = this.#left + ((nowMs - this.#at) / 1000) * this.#bytesPerSecond
    this.#left = Math.min(this.#bytesPerSecond, filled)
    this.#at = nowMs
    const passing = Math.min(bytes, Math.floor(this.#left))
    this.#left -= passing
    return passing
  }
}
