/** One way in which a server lets itself be authenticated to. */
export interface Challenge {
  /** In lower case: `bearer`, `basic`. */
  scheme: string
  /** By lower-case name. */
  parameters: ReadonlyMap<string, string>
}

const TOKEN = String.raw`[A-Za-z0-9!#$%&'*+.^_\`|~-]+`
const PARAMETER = new RegExp(String.raw`\s*(${TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|(${TOKEN}))\s*(?:,|$)`, 'y')
const SCHEME = new RegExp(String.raw`[\s,]*(${TOKEN})(?=\s|,|$)`, 'y')
const HEADER_CHARACTERS_MAX = 8192

/**
 * The challenges of a `WWW-Authenticate` header, as far as it can be read; several headers are joined by commas.
 *
 * @see RFC 9110 section 11.6.1
 */
export function parseChallenges(header: string): Challenge[] {
  const text = header.slice(0, HEADER_CHARACTERS_MAX)
  const challenges: Challenge[] = []
  let at = 0
  const take = (pattern: RegExp) => {
    pattern.lastIndex = at
    const match = pattern.exec(text)
    if (match) at = pattern.lastIndex
    return match
  }
  for (let scheme = take(SCHEME); scheme; scheme = take(SCHEME)) {
    const parameters = new Map<string, string>()
    for (let parameter = take(PARAMETER); parameter; parameter = take(PARAMETER)) {
      const [, name = '', quoted, plain = ''] = parameter
      parameters.set(name.toLowerCase(), quoted?.replaceAll(/\\(.)/g, '$1') ?? plain)
    }
    challenges.push({ scheme: (scheme[1] ?? '').toLowerCase(), parameters })
  }
  return challenges
}
