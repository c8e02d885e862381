const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const FORM = /^(?:\d{1,9}(?:ms|s|m|h|d))+$/

/** @param text such as `500ms`, `15m` or `1h30m` @returns milliseconds; undefined when it has another form */
export function durationMs(text: string): number | undefined {
  if (!FORM.test(text)) return undefined
  let sumMs = 0
  for (const [, count, unit] of text.matchAll(/(\d+)(ms|s|m|h|d)/g)) sumMs += Number(count) * (UNIT_MS[unit ?? ''] ?? 0)
  return sumMs
}
