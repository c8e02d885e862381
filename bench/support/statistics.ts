/** @param share 0.5 for the median; the value of which that share of all is at or below */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = (sorted.length - 1) * share
  const below = sorted[Math.floor(middle)] ?? Number.NaN
  const above = sorted[Math.ceil(middle)] ?? Number.NaN
  return below + (above - below) * (middle - Math.floor(middle))
}

export const median = (values: readonly number[]): number => quantile(values, 0.5)

/** Three significant digits, and no fractions of what is larger. */
export const round = (value: number): number =>
  Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3))

export interface Pairs {
  purser: number[]
  containerd: number[]
  /** The median of the ratios of pairs, which a machine that is busy for a while moves less than either median. */
  ratio: number
}

/**
 * Measures two sides in turns, so that what else the machine does meets both. The first pair is not counted.
 *
 * @param purser one measurement, in any unit; `containerd` is the same work done by containerd
 */
export async function inPairs(
  rounds: number,
  { purser, containerd }: { purser: () => Promise<number>; containerd: () => Promise<number> },
): Promise<Pairs> {
  const pairs: Pairs = { purser: [], containerd: [], ratio: Number.NaN }
  for (let at = -1; at < rounds; at += 1) {
    // Whoever comes second may find caches warm: they take turns in that too.
    const measured =
      at % 2 === 0
        ? { containerd: await containerd(), purser: await purser() }
        : { purser: await purser(), containerd: await containerd() }
    if (at < 0) continue
    pairs.purser.push(measured.purser)
    pairs.containerd.push(measured.containerd)
  }
  pairs.ratio = median(pairs.purser.map((value, at) => value / (pairs.containerd[at] ?? Number.NaN)))
  return pairs
}

/** @returns milliseconds */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const begunAt = performance.now()
  await work()
  return performance.now() - begunAt
}
