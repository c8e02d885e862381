import type { Priority } from './connections.ts'

interface Waiting {
  bytes: number
  priority: Priority
  grant(): void
}

/** How much may have been saved up while nobody took anything. */
const BURST_MS = 100

/**
 * So many bytes a second on the node. Bytes that have arrived are paid for afterwards: who has taken too many waits, which
 * holds up the connection they came by, and the most urgent goes on first.
 */
export class Bandwidth {
  readonly #bytesPerSecond: number
  readonly #waiting: Waiting[] = []
  #credit: number
  #countedAt = performance.now()
  #timer: NodeJS.Timeout | undefined

  /** @param bytesPerSecond `Infinity` for no bound */
  constructor(bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond
    this.#credit = this.#burst
  }

  get #burst(): number {
    return (this.#bytesPerSecond * BURST_MS) / 1000
  }

  /** @returns undefined when there is nothing to wait for */
  take(bytes: number, priority: Priority, signal: AbortSignal): Promise<void> | undefined {
    if (this.#bytesPerSecond === Number.POSITIVE_INFINITY) return undefined
    if (this.#waiting.length === 0) {
      this.#count()
      if (this.#credit > 0) {
        this.#credit -= bytes
        return undefined
      }
    }
    return this.#wait(bytes, priority, signal)
  }

  #wait(bytes: number, priority: Priority, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted()
      const onAbort = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1)
        reject(signal.reason)
      }
      const waiting: Waiting = {
        bytes,
        priority,
        grant: () => {
          signal.removeEventListener('abort', onAbort)
          resolve()
        },
      }
      signal.addEventListener('abort', onAbort, { once: true })
      this.#waiting.push(waiting)
      this.#next()
    })
  }

  #next(): void {
    this.#count()
    while (this.#credit > 0) {
      const [first, ...others] = this.#waiting
      if (!first) return
      const best = others.reduce((a, b) => (b.priority() < a.priority() ? b : a), first)
      this.#waiting.splice(this.#waiting.indexOf(best), 1)
      this.#credit -= best.bytes
      best.grant()
    }
    if (this.#waiting.length === 0 || this.#timer !== undefined) return
    const waitMs = Math.ceil((-this.#credit / this.#bytesPerSecond) * 1000) + 1
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#next()
    }, waitMs)
  }

  #count(): void {
    const now = performance.now()
    const earned = ((now - this.#countedAt) / 1000) * this.#bytesPerSecond
    this.#credit = Math.min(this.#burst, this.#credit + earned)
    this.#countedAt = now
  }
}
