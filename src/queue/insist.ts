import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { errorCodeOf } from '../model/errors.ts'

const DELAY_MS = 100
const DELAY_MS_MAX = 5000

/**
 * Tries until Redis answers and has room, or the signal aborts: for what the node itself has to write or to ask for, and
 * nobody would ask for again.
 *
 * @param what for the log messages
 * @throws what the attempt throws for another reason; the signal's reason
 */
export async function insist(
  what: string,
  attempt: () => Promise<unknown>,
  { logger, signal }: { logger: Logger; signal: AbortSignal },
): Promise<void> {
  for (let delayMs = DELAY_MS; ; delayMs = Math.min(delayMs * 2, DELAY_MS_MAX)) {
    try {
      await attempt()
      return
    } catch (err) {
      const code = errorCodeOf(err)
      if (code !== 'unavailable' && code !== 'resource_exhausted') throw err
      logger.warn({ err, what }, 'not recorded yet')
      await delay(delayMs, undefined, { signal })
    }
  }
}
