const DISTANCE_MAX = 2

/** The candidates that a mistyped word is most like, as `(did you mean X?)` with a space before; empty when none is close. */
export function suggestion(word: string, candidates: Iterable<string>): string {
  let best: string[] = []
  let least = Math.min(DISTANCE_MAX, Math.floor(word.length / 2)) + 1
  for (const candidate of candidates) {
    const distance = candidate.startsWith(word) && word.length > 1 ? 1 : distanceOf(word, candidate)
    if (distance < least) {
      least = distance
      best = [candidate]
    } else if (distance === least && best.length > 0) best.push(candidate)
  }
  return best.length === 0 ? '' : ` (did you mean ${best.sort().slice(0, 3).join(' or ')}?)`
}

/** Edits from one word to the other: insert, remove, replace, swap neighbours. */
function distanceOf(a: string, b: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = (last[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      let least = Math.min(replaced, (last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, (beforeLast[j - 2] ?? 0) + 1)
      }
      row.push(least)
    }
    beforeLast = last
    last = row
  }
  return last[b.length] ?? 0
}
