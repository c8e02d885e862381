import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Logger } from 'pino'

type Collect = (options: { type: 'major'; flavor: 'last-resort' }) => void

const LOOK_MS = 5000
/** Share of one CPU below which the daemon counts as idle. */
const IDLE_CPU = 0.02
/** A collection stops the daemon for some tens of milliseconds: not for less than this. */
const GROWTH_BYTES_MIN = 12 * 1024 * 1024

/**
 * Gives memory back to the host while there is nothing to do. V8 keeps what a start, a pull or a burst of requests made
 * it take: a third of what an idle daemon would hold.
 */
export function releaseWhenIdle(logger: Logger, lookMs = LOOK_MS): Disposable {
  setFlagsFromString('--expose-gc') // There is no other way to the collector from within; contexts made later have it.
  const collect: Collect = runInNewContext('gc')
  let cpu = process.cpuUsage()
  let kept = 0
  const look = () => {
    const used = process.cpuUsage(cpu)
    cpu = process.cpuUsage()
    if ((used.user + used.system) / 1000 > lookMs * IDLE_CPU) return
    const { heapTotal } = process.memoryUsage()
    if (heapTotal < kept + GROWTH_BYTES_MIN) return
    const begunAt = performance.now()
    collect({ type: 'major', flavor: 'last-resort' })
    kept = process.memoryUsage().heapTotal
    logger.debug(
      { before: heapTotal, after: kept, durationMs: Math.round(performance.now() - begunAt) },
      'memory released',
    )
    cpu = process.cpuUsage()
  }
  const timer = setInterval(look, lookMs).unref()
  return { [Symbol.dispose]: () => clearInterval(timer) }
}
