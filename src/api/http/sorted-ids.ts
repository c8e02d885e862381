import type { EventLog } from '../../log/event-log.ts'
import type { StoredEvent } from '../../model/event.ts'

/**
 * The ids of each aggregate in order, for paging and for unique beginnings: sorted when first asked for, kept in order by
 * the events that follow.
 */
export class SortedIds implements Disposable {
  readonly #log: EventLog
  readonly #lists = new Map<string, string[]>()
  readonly #listening: Disposable

  constructor(log: EventLog) {
    this.#log = log
    this.#listening = log.listen((event) => this.#applied(event))
  }

  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]()
  }

  /** Ids of a namespace, or of all of them; in the order of their UTF-16 code units. */
  of(aggregate: string, namespace: string | undefined): readonly string[] {
    const key = keyOf(aggregate, namespace)
    const known = this.#lists.get(key)
    if (known) return known
    const ids = [...this.#log.documents.list({ name: aggregate, initial: undefined }, namespace)].map(({ id }) => id)
    // An empty list costs nothing to make, and clients choose names of namespaces.
    if (ids.length > 0) this.#lists.set(key, ids.sort())
    return ids
  }

  #applied(event: StoredEvent): void {
    for (const key of [keyOf(event.aggregate, event.namespace), keyOf(event.aggregate, undefined)]) {
      const ids = this.#lists.get(key)
      if (!ids) continue
      const id = event.subject.slice(event.aggregate.length + 1)
      const at = firstFrom(ids, id)
      const exists = this.#log.documents.read(event.aggregate, event.namespace, id).version > 0
      if (exists && ids[at] !== id) ids.splice(at, 0, id)
      if (!exists && ids[at] === id) ids.splice(at, 1)
      if (ids.length === 0) this.#lists.delete(key)
    }
  }
}

/** Index of the first id that is not before `id`. */
export function firstFrom(ids: readonly string[], id: string): number {
  let low = 0
  let high = ids.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((ids[middle] ?? '') < id) low = middle + 1
    else high = middle
  }
  return low
}

const keyOf = (aggregate: string, namespace: string | undefined): string => `${aggregate}\n${namespace ?? ''}`
