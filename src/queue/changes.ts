import type { EventLog } from '../log/event-log.ts'
import type { StoredEvent } from '../model/event.ts'

/** One instance of an aggregate. */
export interface Instance {
  aggregate: string
  namespace: string
  id: string
}

/**
 * Waits for states of single instances, for very many at once: an event is looked at by those alone who wait for what it is
 * about.
 */
export class Changes {
  readonly #waiting = new Map<string, Set<() => void>>()

  constructor(log: EventLog) {
    log.listen(({ namespace, subject }: StoredEvent) => {
      for (const look of this.#waiting.get(`${namespace}\n${subject}`) ?? []) look()
    })
  }

  /** Resolves when it holds, now or after an event about the instance. @throws the signal's reason when it aborts first */
  async until({ aggregate, namespace, id }: Instance, holds: () => boolean, signal: AbortSignal): Promise<void> {
    if (holds()) return
    signal.throwIfAborted()
    const key = `${namespace}\n${aggregate}/${id}`
    const waiters = this.#waiting.get(key) ?? new Set()
    this.#waiting.set(key, waiters)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const look = () => holds() && resolve()
    const onAbort = () => reject(signal.reason)
    waiters.add(look)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      await promise
    } finally {
      signal.removeEventListener('abort', onAbort)
      waiters.delete(look)
      if (waiters.size === 0) this.#waiting.delete(key)
    }
  }
}
