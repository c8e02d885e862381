import { setTimeout as delay } from 'node:timers/promises'
import type { PurserError } from '../model/errors.ts'

export interface RetryPolicy {
  /** Tries in all, the first one included. */
  attemptsMax: number
  /** The first delay; each later one is twice as long. */
  baseDelayMs: number
  delayMaxMs: number
  /** A server that asks for a longer wait than this is not waited for. */
  retryAfterMaxMs: number
  /** Further tries that all requests for one image have together. */
  budget: number
}

export const DEFAULT_RETRY: RetryPolicy = {
  attemptsMax: 5,
  baseDelayMs: 200,
  delayMaxMs: 10_000,
  retryAfterMaxMs: 30_000,
  budget: 50,
}

/** How many more tries there are for one image: each of its hundred blobs failing a little is too much together. */
export class RetryBudget {
  readonly #tries: number
  #left: number

  constructor(tries: number) {
    this.#tries = tries
    this.#left = tries
  }

  /** For one that was worth it. */
  giveBack(): void {
    this.#left = Math.min(this.#tries, this.#left + 1)
  }

  /** @returns false when none is left */
  take(): boolean {
    if (this.#left === 0) return false
    this.#left -= 1
    return true
  }
}

/** What an attempt throws when another one may succeed. */
export class Retryable extends Error {
  /** What is thrown once there are no attempts left. */
  readonly final: PurserError
  /** What the server asked for, in milliseconds. */
  readonly retryAfterMs: number | undefined

  constructor(final: PurserError, retryAfterMs?: number) {
    super(final.message)
    this.final = final
    this.retryAfterMs = retryAfterMs
  }
}

/**
 * Calls until it succeeds, fails for good, or has used up its attempts, with jittered waits in between.
 *
 * @param onRetry called before each wait
 */
export async function retrying<T>(
  policy: RetryPolicy,
  signal: AbortSignal,
  call: () => Promise<T>,
  onRetry: (failure: PurserError, attempt: number, delayMs: number) => void,
  budget: RetryBudget = new RetryBudget(policy.budget),
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      signal.throwIfAborted()
      return await call()
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof Retryable)) throw error
      const asked = error.retryAfterMs ?? 0
      if (attempt >= policy.attemptsMax || asked > policy.retryAfterMaxMs || !budget.take()) throw error.final
      const delayMs = Math.max(asked, backoffMs(policy, attempt))
      onRetry(error.final, attempt, delayMs)
      await delay(delayMs, undefined, { signal })
    }
  }
}

/** Half of the delay is fixed, so that a server gets a rest, and half random, so that callers spread out. */
function backoffMs({ baseDelayMs, delayMaxMs }: RetryPolicy, attempt: number): number {
  return Math.min(delayMaxMs, baseDelayMs * 2 ** (attempt - 1)) * (0.5 + Math.random() / 2)
}

/**
 * How long a registry asks us to wait.
 *
 * @param header value of `Retry-After`: whole seconds, or an HTTP date
 * @param nowMs Unix time in milliseconds, to measure a date against
 * @returns milliseconds, 0 or more; undefined when the header is neither form
 * @see RFC 9110 section 10.2.3
 */
export function retryAfterMs(header: string, nowMs: number): number | undefined {
  const text = header.trim()
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000
  if (!/^[A-Za-z]{3,9},? /.test(text)) return undefined
  const at = Date.parse(text)
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs)
}
