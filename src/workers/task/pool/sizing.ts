import type { Sizing } from '../../../commands/pool.ts'

/** What a pool has seen of late. */
export interface Demand {
  /** Arrivals of claims. */
  claimsPerSecond: number
  /** How long it takes until a task that is asked for is ready. */
  warmSeconds: number
}

/**
 * How many tasks are to be ready.
 *
 * A claim finds one ready of n where fewer than n claims have arrived in the time that a replacement takes: with arrivals at
 * random, their number is Poisson distributed with mean `claimsPerSecond × warmSeconds`. The smallest n for which that is at
 * least as probable as the wanted share of hits is it, between min and max. (In the theory of stocks: a base stock with
 * replenishment one for one.)
 */
export function idleWanted({ min, max = min, hitRatio }: Sizing, { claimsPerSecond, warmSeconds }: Demand): number {
  if (hitRatio === undefined) return Math.max(min, 0)
  const mean = claimsPerSecond * warmSeconds
  let term = Math.exp(-mean)
  let fewer = 0
  for (let n = 0; n < max; n++) {
    if (fewer >= hitRatio) return Math.max(min, n)
    fewer += term
    term *= mean / (n + 1)
  }
  return max
}

const WINDOWS_MS = [10_000, 60_000, 600_000]
const FEW = 3
const ARRIVALS_MAX = 4096
/** No burst has longer pauses, however long tasks take. */
const LULL_MS_MAX = 20
/** Until one has become ready. */
const WARM_MS = 1000

/** Remembers when claims came and how long warming took. Times are in milliseconds of one clock. */
export class DemandMeter {
  readonly #arrivals: number[] = []
  #warmings: number[] = []

  arrived(nowMs: number): void {
    this.#arrivals.push(nowMs)
    if (this.#arrivals.length > ARRIVALS_MAX) this.#arrivals.shift()
  }

  warmed(ms: number): void {
    this.#warmings = [...this.#warmings.slice(-8), ms]
  }

  /**
   * How long it is taken for a burst from now on, if no further claim comes: claims that come faster than tasks become ready.
   *
   * @param atOnce tasks that are made ready at once
   * @returns 0 or less when it is none
   */
  burstLeftMs(nowMs: number, atOnce: number): number {
    const lastAt = this.#arrivals.at(-1) ?? Number.NEGATIVE_INFINITY
    return lastAt + Math.min(LULL_MS_MAX, this.#warmMs() / atOnce) - nowMs
  }

  /** The highest rate of several windows, so that a burst counts at once and is not forgotten at once; a window with few claims tells nothing. */
  demand(nowMs: number): Demand {
    const rates = WINDOWS_MS.map((windowMs) => {
      const count = this.#arrivals.length - firstAfter(this.#arrivals, nowMs - windowMs)
      return count < FEW ? 0 : (1000 * count) / windowMs
    })
    return { claimsPerSecond: Math.max(...rates), warmSeconds: this.#warmMs() / 1000 }
  }

  /** The median. */
  #warmMs(): number {
    const sorted = this.#warmings.toSorted((a, b) => a - b)
    return sorted[sorted.length >> 1] ?? WARM_MS
  }
}

function firstAfter(sorted: readonly number[], value: number): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((sorted[middle] ?? 0) > value) high = middle
    else low = middle + 1
  }
  return low
}
