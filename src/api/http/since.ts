import { PurserError } from '../../model/errors.ts'

const UNIT_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const DURATION = /^(?:\d{1,9}(?:ms|s|m|h|d))+$/
const INSTANT = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)$/

/**
 * A moment in the past: an RFC 3339 time, or how long ago as `15m` or `1h30m`.
 *
 * @returns Unix time in milliseconds
 * @throws PurserError invalid_argument
 */
export function momentOf(text: string, nowMs: number): number {
  if (DURATION.test(text)) {
    let agoMs = 0
    for (const [, count, unit] of text.matchAll(/(\d+)(ms|s|m|h|d)/g))
      agoMs += Number(count) * (UNIT_MS[unit ?? ''] ?? 0)
    return nowMs - agoMs
  }
  const timeMs = INSTANT.test(text) ? Date.parse(text) : Number.NaN
  if (!Number.isNaN(timeMs)) return timeMs
  throw new PurserError('invalid_argument', `since: ${JSON.stringify(text.slice(0, 100))} is not a moment`, {
    field: 'since',
    remedy: 'write a time such as 2026-01-31T12:00:00Z, or a duration such as 15m',
  })
}
