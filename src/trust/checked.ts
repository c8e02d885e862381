const REASONS_MAX = 5
const REASON_CHARACTERS_MAX = 200

/** A signature that was fetched, and how it is held against a demand. */
export interface Candidate<D> {
  demands: readonly D[]
  /** @returns false when it is by somebody else. @throws when it is by the one who is wanted, and yet no good */
  meets(demand: D): boolean
}

/** What came of looking at all signatures of an image: which demands are met, and why others were not good. */
export class Checked {
  readonly #met = new Set<string>()
  readonly #reasons = new Set<string>()
  #seen = 0

  /** Names of the demands that a signature has met. */
  get met(): ReadonlySet<string> {
    return this.#met
  }

  /** Looks at one signature. One that is broken, or by somebody else, harms no other. */
  async signature<D extends { name: string }>(signal: AbortSignal, fetch: () => Promise<Candidate<D>>): Promise<void> {
    this.#seen += 1
    const reasons: unknown[] = []
    let isOfUse = false
    try {
      const { demands, meets } = await fetch()
      for (const demand of demands) {
        try {
          if (!meets(demand)) continue
          this.#met.add(demand.name)
          isOfUse = true
        } catch (error) {
          reasons.push(error)
        }
      }
    } catch (error) {
      signal.throwIfAborted()
      reasons.push(error)
    }
    if (isOfUse) return
    if (reasons.length === 0) reasons.push('it is by none of the keys and identities that are trusted')
    for (const reason of reasons) {
      const text = reason instanceof Error ? reason.message : String(reason)
      if (this.#reasons.size < REASONS_MAX) this.#reasons.add(text.slice(0, REASON_CHARACTERS_MAX))
    }
  }

  /** Why it is not enough. */
  get reason(): string {
    if (this.#seen === 0) return 'it has no signature'
    if (this.#reasons.size === 0) return 'signatures by others are missing'
    return `of its ${this.#seen} signature${this.#seen === 1 ? '' : 's'}: ${[...this.#reasons].join('; ')}`
  }
}
