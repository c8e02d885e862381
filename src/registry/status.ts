import { PurserError } from '../model/errors.ts'
import { errorCodeIn } from './bodies.ts'
import { Retryable, retryAfterMs } from './retry.ts'
import type { TransportResponse } from './transport.ts'

const PASSING_STATUSES = new Set([408, 425, 429, 500, 502, 503, 504])

/**
 * What an answer that is neither wanted nor about authentication or absence means: Retryable when it may pass.
 *
 * @param who whose answer it is, such as `the registry ghcr.io`
 */
export async function statusFailure(
  response: TransportResponse,
  who: string,
  signal: AbortSignal,
): Promise<Retryable | PurserError> {
  const { status } = response
  const code = await errorCodeIn(response, signal)
  const message = `${who} answers with status ${status}${code === undefined ? '' : ` (${code})`}`
  if (!PASSING_STATUSES.has(status)) {
    return new PurserError('unknown', message, { remedy: 'ask those who run the registry' })
  }
  const remedy = status === 429 ? 'wait, or log in to be allowed more: docker login' : 'try again later'
  const asked = response.header('retry-after')
  return new Retryable(
    new PurserError('unavailable', message, { remedy }),
    asked === undefined ? undefined : retryAfterMs(asked, Date.now()),
  )
}

/** Of a host that does not say for how long. */
const PAUSE_MS = 1000

/** For how long the answer asks that nobody asks again, in milliseconds. */
export function pauseAskedBy(response: TransportResponse): number | undefined {
  const asked = response.header('retry-after')
  const forMs = asked === undefined ? undefined : retryAfterMs(asked, Date.now())
  if (response.status === 429) return forMs ?? PAUSE_MS
  return response.status === 503 ? forMs : undefined
}
