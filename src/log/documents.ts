import type { AnyAggregate, Entry, Kind, View } from '../model/aggregate.ts'
import { PurserError } from '../model/errors.ts'
import type { StoredEvent } from '../model/event.ts'
import { isKnown, upcast } from './upcast.ts'

export interface Document {
  version: number
  state: unknown
}

/**
 * The current state of every aggregate, folded from events in the order of their positions. The daemon keeps one in
 * memory, Redis holds the same documents; `purser state rebuild --check` compares them.
 */
export class Documents implements View {
  readonly #aggregates: ReadonlyMap<string, AnyAggregate>
  readonly #byAggregate = new Map<string, Map<string, Document>>()
  /** Position of the last event folded in. */
  head = 0
  /** Events that only a later release knows, and that were left out. */
  skipped = 0

  constructor(aggregates: ReadonlyMap<string, AnyAggregate>) {
    this.#aggregates = aggregates
    for (const name of aggregates.keys()) this.#byAggregate.set(name, new Map())
  }

  aggregate(name: string): AnyAggregate {
    const found = this.#aggregates.get(name)
    if (found) return found
    throw new PurserError('data_loss', `the log names the aggregate ${name}, which this version does not know`, {
      remedy: 'run the version of purser that wrote this log',
    })
  }

  aggregates(): Iterable<AnyAggregate> {
    return this.#aggregates.values()
  }

  /** The document, or version 0 and the initial state. */
  read(aggregate: string, namespace: string, id: string): Document {
    return this.#of(aggregate).get(`${namespace}/${id}`) ?? { version: 0, state: this.aggregate(aggregate).initial }
  }

  get<S>(of: Kind<S>, namespace: string, id: string): S {
    return this.read(of.name, namespace, id).state as S
  }

  version<S>(of: Kind<S>, namespace: string, id: string): number {
    return this.read(of.name, namespace, id).version
  }

  *list<S>(of: Kind<S>, namespace?: string): Iterable<Entry<S>> {
    for (const [key, { version, state }] of this.#of(of.name)) {
      const slash = key.indexOf('/')
      const entryNamespace = key.slice(0, slash)
      if (namespace !== undefined && entryNamespace !== namespace) continue
      yield { namespace: entryNamespace, id: key.slice(slash + 1), version, state: state as S }
    }
  }

  count(aggregate: string): number {
    return this.#of(aggregate).size
  }

  /** The documents of one aggregate as Redis holds them: NAMESPACE/ID → `VERSION JSON`. */
  *serialised(aggregate: string): Iterable<[field: string, value: string]> {
    for (const [key, document] of this.#of(aggregate))
      yield [key, `${document.version} ${JSON.stringify(document.state)}`]
  }

  /** Takes over a stored document; only before the first fold. */
  load(aggregate: string, field: string, value: string): void {
    const space = value.indexOf(' ')
    this.#of(aggregate).set(field, {
      version: Number(value.slice(0, space)),
      state: JSON.parse(value.slice(space + 1)),
    })
  }

  /** Whether this release can fold it. */
  knows(event: StoredEvent): boolean {
    return isKnown(this.#aggregates, event)
  }

  apply(event: StoredEvent): void {
    if (event.position !== this.head + 1) {
      throw new PurserError('data_loss', `event ${event.position} follows ${this.head}: the log has a gap`)
    }
    if (!this.knows(event)) {
      this.skipped += 1
      this.head = event.position
      return
    }
    const documents = this.#of(event.aggregate)
    const key = `${event.namespace}/${event.subject.slice(event.aggregate.length + 1)}`
    const aggregate = this.aggregate(event.aggregate)
    const state = aggregate.evolve(documents.get(key)?.state ?? aggregate.initial, upcast(this.#aggregates, event))
    if (aggregate.exists(state)) documents.set(key, { version: event.position, state })
    else documents.delete(key)
    this.head = event.position
  }

  /** Takes a document out of state by retention; its events stay in the log. */
  forget(aggregate: string, key: string): void {
    this.#of(aggregate).delete(key)
  }

  #of(aggregate: string): Map<string, Document> {
    const found = this.#byAggregate.get(aggregate)
    if (found) return found
    this.aggregate(aggregate)
    throw new PurserError('internal', `no documents of ${aggregate}`)
  }
}
