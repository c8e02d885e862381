/** A place among those that may use the network. */
export interface Connection extends Disposable {
  /** Aborts when somebody more urgent wants the place: give it back soon, and ask for another one. */
  readonly wanted: AbortSignal
}

/** Smaller is more urgent; asked each time, because it can change while one waits. Of whole numbers only does one displace another. */
export type Priority = () => number

interface Holder {
  priority: Priority
  yielding: AbortController
}

interface Waiting {
  priority: Priority
  grant(connection: Connection): void
}

/**
 * So many connections at once on the node. The most urgent is served first, and of equals who came first; who holds a place
 * that somebody more urgent waits for is asked to leave it.
 */
export class Connections {
  readonly #limit: number
  readonly #holders = new Set<Holder>()
  readonly #waiting: Waiting[] = []

  constructor(limit: number) {
    this.#limit = limit
  }

  get inUse(): number {
    return this.#holders.size
  }

  get waiting(): number {
    return this.#waiting.length
  }

  /** Rejects with the signal's reason when it aborts first. */
  acquire(priority: Priority, signal: AbortSignal): Promise<Connection> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted()
      const onAbort = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1)
        reject(signal.reason)
      }
      const waiting: Waiting = {
        priority,
        grant: (connection) => {
          signal.removeEventListener('abort', onAbort)
          resolve(connection)
        },
      }
      signal.addEventListener('abort', onAbort, { once: true })
      this.#waiting.push(waiting)
      this.#next()
      this.reconsider()
    })
  }

  /** To be called when somebody who waits has become more urgent. */
  reconsider(): void {
    const leaving = [...this.#holders].filter(({ yielding }) => yielding.signal.aborted)
    const urgent = this.#waiting.toSorted((a, b) => a.priority() - b.priority()).slice(leaving.length)
    const holders = [...this.#holders]
      .filter((holder) => !leaving.includes(holder))
      .sort((a, b) => b.priority() - a.priority())
    for (const waiting of urgent) {
      const holder = holders.shift()
      if (!holder || Math.floor(holder.priority()) <= Math.floor(waiting.priority())) return
      holder.yielding.abort(new Error('somebody more urgent wants this connection'))
    }
  }

  #next(): void {
    while (this.#holders.size < this.#limit) {
      const [first, ...others] = this.#waiting
      if (!first) return
      const best = others.reduce((a, b) => (b.priority() < a.priority() ? b : a), first)
      this.#waiting.splice(this.#waiting.indexOf(best), 1)
      const holder: Holder = { priority: best.priority, yielding: new AbortController() }
      this.#holders.add(holder)
      best.grant({
        wanted: holder.yielding.signal,
        [Symbol.dispose]: () => {
          if (this.#holders.delete(holder)) this.#next()
        },
      })
    }
  }
}
