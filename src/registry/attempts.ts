/** What became of requests to one host, as far as it was the same each time. */
export interface Attempt {
  /** `host[:port]` */
  host: string
  /** Of the answer; undefined when there was none. */
  status?: number
  /** Why it was not good enough; undefined when it was. */
  reason?: string
  requests: number
}

const ATTEMPTS_MAX = 50
const REASON_CHARACTERS_MAX = 300

/** Whom an image was asked of, and what they said: what is equal is counted, so that it stays short however long a pull takes. */
export class AttemptLog {
  readonly #attempts = new Map<string, Attempt>()

  add(host: string, status?: number, reason?: string): void {
    const short = reason?.slice(0, REASON_CHARACTERS_MAX)
    const key = JSON.stringify([host, status, short])
    const known = this.#attempts.get(key)
    if (known) known.requests += 1
    else if (this.#attempts.size < ATTEMPTS_MAX) {
      const attempt: Attempt = { host, requests: 1 }
      if (status !== undefined) attempt.status = status
      if (short !== undefined) attempt.reason = short
      this.#attempts.set(key, attempt)
    }
  }

  list(): Attempt[] {
    return [...this.#attempts.values()].map((attempt) => ({ ...attempt }))
  }
}
