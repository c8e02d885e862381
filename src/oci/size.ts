import { PurserError } from '../model/errors.ts'

const BYTES = /^(\d{1,20}(?:\.\d{1,20})?) ?(?:([kmgtp])(?:i?b)?|b)?$/i
const POWERS = ['', 'k', 'm', 'g', 't', 'p']

/**
 * A size as docker reads it, by powers of 1024 whatever the spelling: `512m`, `1.5g`, `64KiB`, `4096`, `10b`.
 *
 * @returns bytes, a whole number, rounded down
 * @throws PurserError invalid_argument
 */
export function parseBytes(text: string): number {
  const [, number, unit = ''] = BYTES.exec(text.trim()) ?? []
  const bytes = Math.floor(Number(number) * 1024 ** POWERS.indexOf(unit.toLowerCase()))
  if (Number.isSafeInteger(bytes)) return bytes
  throw new PurserError('invalid_argument', `${JSON.stringify(text.slice(0, 64))} is not a size in bytes`, {
    remedy: 'write a number and one of b, k, m, g, t, p: 512m, 1.5g',
  })
}

const DURATION = /^(?:\d{1,20}(?:\.\d{1,20})?(?:ns|us|µs|μs|ms|s|m|h|d))+$/
const DURATION_PART = /([\d.]+)(\D+)/g
const UNIT_MS = new Map([
  ['ns', 1e-6],
  ['us', 1e-3],
  ['µs', 1e-3], // U+00B5, micro sign
  ['μs', 1e-3], // U+03BC, Greek mu
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
])

/**
 * A duration as Go reads it, and days: `10s`, `1m30s`, `1.5h`, `250ms`, `0`.
 *
 * @returns milliseconds, a whole number, rounded up: a nanosecond is 1
 * @throws PurserError invalid_argument
 */
export function parseDuration(text: string): number {
  const trimmed = text.trim()
  if (trimmed === '0') return 0
  if (trimmed.length <= 128 && DURATION.test(trimmed)) {
    let ms = 0
    for (const [, number, unit = ''] of trimmed.matchAll(DURATION_PART))
      ms += Number(number) * (UNIT_MS.get(unit) ?? NaN)
    // 1.1 s must be 1100 ms, not the next one up: floating point errors are far below a nanosecond.
    const whole = Math.ceil(Math.round(ms) === Number(ms.toFixed(6)) ? Math.round(ms) : ms)
    if (Number.isSafeInteger(whole)) return whole
  }
  throw new PurserError('invalid_argument', `${JSON.stringify(text.slice(0, 64))} is not a duration`, {
    remedy: 'write numbers with units ms, s, m, h or d: 10s, 1m30s, 1.5h',
  })
}
