import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { survivorsOf } from '../../host/survivors.ts'
import { errorCodeOf } from '../../model/errors.ts'
import type { Shim, TaskExit } from '../../shim/shim.ts'
import type { TaskEvent } from '../../shim/task-events.ts'

type ExitEvent = Extract<TaskEvent, { exitCode: number }>

/** A task, as far as its end is learnt through it. */
export interface WatchedTask {
  namespace: string
  id: string
  shim: Pick<Shim, 'wait' | 'state'>
}

interface Awaited {
  live: WatchedTask
  report(exit: TaskExit): void
}

/** `Wait` answers before the event is sent; so long is waited for it where it does not. */
const EVENT_FIRST_MS = 500
const AGAIN_MS = 1000

/**
 * Learns how processes end. A shim answers `Wait`, which cannot get lost, and sends an event: whichever comes counts, once. An
 * event alone is not believed while the shim, or the host, says that the process runs.
 */
export class Exits<T extends WatchedTask> {
  readonly #logger: Pick<Logger, 'warn'>
  readonly #reconnect: (live: T) => Promise<boolean>
  readonly #awaited = new Map<string, Awaited>()

  /** @param reconnect gives a task whose connection was lost another one; false when its shim is gone */
  constructor(logger: Pick<Logger, 'warn'>, reconnect: (live: T) => Promise<boolean>) {
    this.#logger = logger
    this.#reconnect = reconnect
  }

  /**
   * @throws PurserError unavailable when the shim dies, not_found when it knows no such process; the signal's reason when
   * it aborts
   */
  async of(live: T, execId: string | undefined, signal: AbortSignal): Promise<TaskExit> {
    const { namespace, id } = live
    const key = keyOf(namespace, id, execId)
    const process = execId === undefined ? {} : { execId }
    const reported = Promise.withResolvers<TaskExit>()
    const awaited = { live, report: reported.resolve }
    this.#awaited.set(key, awaited)
    try {
      while (true) {
        try {
          return await Promise.race([live.shim.wait(process, signal), reported.promise])
        } catch (err) {
          if (signal.aborted || errorCodeOf(err) === 'not_found') throw err
          if (errorCodeOf(err) === 'unavailable' && !(await this.#reconnect(live))) throw err
          this.#logger.warn({ err, namespace, id, execId }, 'a shim does not answer a wait as it should')
        }
        await delay(AGAIN_MS, undefined, { signal })
        const state = await live.shim.state(process, signal).catch((err) => {
          if (signal.aborted || errorCodeOf(err) === 'not_found') throw err
          return undefined // It is waited for again, and says then what is wrong.
        })
        if (state?.exit) return state.exit
      }
    } finally {
      if (this.#awaited.get(key) === awaited) this.#awaited.delete(key)
    }
  }

  /** @param pid of the process, as the log has it */
  async consider(event: ExitEvent, live: T, pid: number, signal: AbortSignal): Promise<void> {
    const { namespace, containerId, execId } = event
    const key = keyOf(namespace, containerId, execId)
    await delay(EVENT_FIRST_MS, undefined, { signal, ref: false })
    const awaited = this.#awaited.get(key)
    // By now the container may have been started again: what is awaited then is another task.
    if (awaited?.live !== live) return
    const { report } = awaited
    const process = execId === undefined ? {} : { execId }
    const state = await live.shim.state(process, signal).catch(() => undefined)
    if (state?.exit) return report(state.exit)
    if (state === undefined && event.pid === pid && survivorsOf([pid]).length === 0)
      return report({ exitCode: event.exitCode, exitedAt: event.exitedAt })
    this.#logger.warn({ namespace, id: containerId, execId, pid: event.pid }, 'a shim tells of an exit that is none')
  }
}

const keyOf = (namespace: string, id: string, execId: string | undefined): string =>
  `${namespace}/${id}/${execId ?? ''}`
