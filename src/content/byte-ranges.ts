/** From `start` up to, and without, `end`. */
export interface ByteRange {
  start: number
  end: number
}

/** Which bytes of a file are there: ranges in order that neither overlap nor touch. */
export class ByteRanges {
  #ranges: ByteRange[]

  constructor(ranges: readonly ByteRange[] = []) {
    this.#ranges = []
    for (const each of ranges) this.add(each)
  }

  /** Bytes from the beginning without a gap. */
  get contiguousBytes(): number {
    const [first] = this.#ranges
    return first?.start === 0 ? first.end : 0
  }

  get totalBytes(): number {
    return this.#ranges.reduce((sum, { start, end }) => sum + end - start, 0)
  }

  add({ start, end }: ByteRange): void {
    if (end <= start) return
    const apart = this.#ranges.filter((each) => each.end < start || each.start > end)
    const touching = this.#ranges.filter((each) => each.end >= start && each.start <= end)
    const merged = {
      start: Math.min(start, ...touching.map((each) => each.start)),
      end: Math.max(end, ...touching.map((each) => each.end)),
    }
    this.#ranges = [...apart, merged].sort((a, b) => a.start - b.start)
  }

  /** These and others. */
  with(others: Iterable<ByteRange>): ByteRanges {
    return new ByteRanges([...this.#ranges, ...others])
  }

  /** The first bytes that are not there, of a file of so many. */
  firstGap(totalBytes: number): ByteRange | undefined {
    const start = this.contiguousBytes
    if (start >= totalBytes) return undefined
    const next = this.#ranges.find((each) => each.start > start)
    return { start, end: Math.min(next?.start ?? totalBytes, totalBytes) }
  }

  /** A line each: `0-1024`. */
  toString(): string {
    return this.#ranges.map(({ start, end }) => `${start}-${end}\n`).join('')
  }

  /** @returns undefined when the text is not what `toString` gives for ranges within so many bytes */
  static parse(text: string, fileBytes: number): ByteRanges | undefined {
    const ranges: ByteRange[] = []
    for (const line of text.split('\n').slice(0, -1)) {
      const [, start, end] = /^(\d{1,15})-(\d{1,15})$/.exec(line) ?? []
      if (start === undefined || end === undefined || Number(end) > fileBytes) return undefined
      ranges.push({ start: Number(start), end: Number(end) })
    }
    return text === '' || text.endsWith('\n') ? new ByteRanges(ranges) : undefined
  }
}
