/**
 * What of each chunk is kept, by whole lines.
 *
 * @param onDropped is told how many bytes are not
 */
export function passingAt(
  bytesPerSecond: number | undefined,
  onDropped: (bytes: number) => void = () => {},
): (chunk: Buffer) => Buffer {
  if (bytesPerSecond === undefined) return (chunk) => chunk
  const rate = new OutputRate(bytesPerSecond, performance.now())
  return (chunk) => {
    const passing = rate.take(chunk.length, performance.now())
    if (passing === chunk.length) return chunk
    // Half a line says less than none.
    const kept = chunk.subarray(0, passing === 0 ? 0 : chunk.lastIndexOf(NEWLINE, passing - 1) + 1)
    onDropped(chunk.length - kept.length)
    return kept
  }
}

const NEWLINE = 0x0a

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
