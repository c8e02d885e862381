import { Chance } from './chance.ts'

export interface ArrivalsOptions {
  seed: number
  durationMs: number
  /** Calls in a second, between bursts and within them. */
  quietRate: number
  burstRate: number
  /** How long the one and the other last on average. */
  quietMs: number
  burstMs: number
}

/**
 * Moments at which calls arrive, in milliseconds: at random, at a rate that changes between two values. Functions in a cloud
 * are called so: now and then, and then by many at once.
 *
 * @see Shahrad et al., "Serverless in the Wild", USENIX ATC 2020, section 3.3: most are bursty, with a coefficient of variation above 1
 */
export function arrivals({ seed, durationMs, quietRate, burstRate, quietMs, burstMs }: ArrivalsOptions): number[] {
  const chance = new Chance(seed)
  const exponential = (mean: number) => -mean * Math.log(1 - chance.below(1_000_000) / 1_000_000)
  const moments: number[] = []
  let isBurst = false
  for (let begin = 0; begin < durationMs; isBurst = !isBurst) {
    const end = begin + exponential(isBurst ? burstMs : quietMs)
    const gapMs = 1000 / (isBurst ? burstRate : quietRate)
    for (let at = begin + exponential(gapMs); at < Math.min(end, durationMs); at += exponential(gapMs)) moments.push(at)
    begin = end
  }
  return moments
}
