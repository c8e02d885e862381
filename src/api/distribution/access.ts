import { timingSafeEqual } from 'node:crypto'
import type { Secret } from '../../model/secret.ts'

/**
 * Whether a request carries the token: as a bearer's, or as the password of anybody, which is how `docker login` sends it.
 *
 * @param authorization value of the header
 */
export function carriesToken(authorization: string | undefined, token: Secret): boolean {
  const [scheme = '', value = ''] = (authorization ?? '').split(' ', 2)
  if (scheme.toLowerCase() === 'bearer') return isSame(value, token)
  if (scheme.toLowerCase() !== 'basic') return false
  const pair = Buffer.from(value, 'base64').toString('utf8')
  return isSame(pair.slice(pair.indexOf(':') + 1), token)
}

/** In a time that does not tell how much of it is right. */
function isSame(given: string, token: Secret): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(token.reveal())]
  return a.length === b.length && timingSafeEqual(a, b)
}
