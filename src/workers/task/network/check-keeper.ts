import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { type TaskState, task, tasks } from '../../../commands/task.ts'
import type { EventLog } from '../../../log/event-log.ts'
import type { Networks } from '../../../network/networks.ts'
import { recordFact } from '../record-fact.ts'

export interface CheckKeeperOptions {
  log: EventLog
  networks: Networks
  /** Milliseconds from the end of one round to the next; 0 for one round alone. */
  everyMs: number
  logger: Logger
}

/**
 * Has the plugins look (CHECK) whether the networks of all containers are as they were made, one after the other: at the start and
 * every now and then, for whoever flushes the rules of a firewall tells nobody. Records when that changes; nothing is mended, as a
 * plugin knows only to make all anew.
 */
export class CheckKeeper {
  readonly #options: CheckKeeperOptions
  readonly #stop = new AbortController()

  constructor(options: CheckKeeperOptions) {
    this.#options = options
    void this.#checkAgain().catch((err) => {
      if (!this.#stop.signal.aborted)
        options.logger.error({ err }, 'the networks of containers are not checked any more')
    })
  }

  [Symbol.dispose](): void {
    this.#stop.abort()
  }

  async #checkAgain(): Promise<void> {
    const { everyMs, log } = this.#options
    for (;;) {
      for (const { namespace, id, state } of [...log.documents.list(tasks)]) {
        if ('pid' in state && state.interfaces !== undefined) await this.#check(namespace, id)
      }
      if (everyMs === 0) return
      await delay(everyMs, undefined, { signal: this.#stop.signal, ref: false })
    }
  }

  async #check(namespace: string, id: string): Promise<void> {
    const { log, networks, logger } = this.#options
    const { signal } = this.#stop
    const fault = await networks.faultOf({ namespace, id }, signal)
    const known = () => {
      const state: TaskState = log.documents.get(tasks, namespace, id)
      return 'pid' in state ? { network: state.networkFault?.network } : undefined
    }
    const isDue = () => {
      const before = known()
      return before !== undefined && before.network !== fault?.network
    }
    if (!isDue()) return
    if (fault) logger.warn({ namespace, id, ...fault }, 'the network of a container is not as it was made')
    const fact = fault ? task.fact(id, 'task.network-degraded', fault) : task.fact(id, 'task.network-restored', {})
    await recordFact(log, fact, { namespace, by: 'network-check', isDue, logger, signal })
  }
}
