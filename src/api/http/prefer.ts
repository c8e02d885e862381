/** What a request prefers; everything else it names is not for us. */
export interface Preferences {
  /** Seconds that the client waits for the end of a command. */
  waitSeconds?: number
  respondAsync?: true
}

export const WAIT_SECONDS_MAX = 600

/**
 * Reads `Prefer`: tokens with optional values and parameters, joined by commas. Of a preference that is repeated the
 * first counts, one that is malformed counts as not there.
 *
 * @see RFC 7240 sections 2, 4.1 and 4.3
 */
export function parsePrefer(header: string | undefined): Preferences {
  const preferences: Preferences = {}
  for (const preference of header?.split(',') ?? []) {
    const [token = '', value = ''] = (preference.split(';')[0] ?? '').split('=').map((part) => part.trim())
    const text = value.replace(/^"(.*)"$/, '$1')
    switch (token.toLowerCase()) {
      case 'wait':
        if (/^\d{1,9}$/.test(text)) preferences.waitSeconds ??= Math.min(Number(text), WAIT_SECONDS_MAX)
        break
      case 'respond-async':
        preferences.respondAsync = true
    }
  }
  return preferences
}

/** What of it was done, for `Preference-Applied`. @see RFC 7240 section 3 */
export function preferenceApplied({ waitSeconds, respondAsync }: Preferences): Record<string, string> {
  const applied = [
    ...(respondAsync === undefined ? [] : ['respond-async']),
    ...(waitSeconds === undefined ? [] : [`wait=${waitSeconds}`]),
  ]
  return applied.length === 0 ? {} : { 'preference-applied': applied.join(', ') }
}
