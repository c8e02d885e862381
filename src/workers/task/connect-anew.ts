import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { survivorsOf } from '../../host/survivors.ts'
import type { Shim } from '../../shim/shim.ts'
import type { Shims, TaskRequest } from '../../shim/shims.ts'

const RECONNECT_MS = 5000
/** How often a shim that runs is tried where nobody takes the connection, and how long it has in between. */
const REFUSED_MAX = 10
const REFUSED_MS = 200
/** How long one has that takes the connection, and does not answer. */
const SILENT_MS = 1000

/**
 * Another connection to a shim that lives: what ended may have been the connection alone.
 *
 * @param wanted.isWanted false once nobody needs it any more
 * @returns undefined when the shim is gone, or nobody needs it
 */
export async function connectAnew(
  shims: Shims,
  { namespace, id, bundle, runtime }: TaskRequest,
  wanted: { isWanted: () => boolean; logger: Pick<Logger, 'warn'>; signal: AbortSignal },
): Promise<Shim | undefined> {
  const { isWanted, logger, signal } = wanted
  for (let refused = 0; !signal.aborted && isWanted(); ) {
    try {
      const within = AbortSignal.any([signal, AbortSignal.timeout(RECONNECT_MS)])
      const shim = await shims.adopt({ namespace, id, bundle, runtime, signal: within })
      if (shim) return shim
      // One that runs may be about to listen again.
      const pids = (await shims.running([{ namespace, id, bundle }])).get(`${namespace}/${id}`) ?? []
      refused += 1
      if (survivorsOf(pids).length === 0 || refused === REFUSED_MAX) return undefined
      await delay(REFUSED_MS, undefined, { signal, ref: false })
    } catch (err) {
      if (signal.aborted) throw err
      // It took the connection, so it is there; when it is killed, nobody will take it.
      logger.warn({ err, namespace, id }, 'a shim that has hung up does not answer')
      await delay(SILENT_MS, undefined, { signal, ref: false })
    }
  }
  return undefined
}
