import { type PoolMemberState, poolMember } from '../../../commands/pool-member.ts'
import type { EventLog } from '../../../log/event-log.ts'

/** A member may be handed out once only: whoever takes it here has it, whatever the log still says. */
interface Standing {
  /** Ready, the oldest first. */
  ready: Set<string>
  /** Being started, or reset. */
  coming: Set<string>
  claimed: Set<string>
  retiring: Set<string>
}

const PREFIX = 'pool-member/'

const standingOf = (): Standing => ({ ready: new Set(), coming: new Set(), claimed: new Set(), retiring: new Set() })

function placeOf({ status }: PoolMemberState): keyof Standing | undefined {
  switch (status) {
    case 'warming':
    case 'returned':
      return 'coming'
    case 'ready':
      return 'ready'
    case 'claiming':
    case 'claimed':
      return 'claimed'
    case 'retiring':
      return 'retiring'
    case 'absent':
      return undefined
  }
}

/** Which task of which pool is where: an index over the members' documents, so that a claim finds a ready one at once. */
export class PoolMembers {
  readonly #log: EventLog
  readonly #standings = new Map<string, Standing>()
  readonly #where = new Map<string, { pool: string; place: keyof Standing }>()
  readonly #listening: Disposable
  readonly #changed = new Set<(namespace: string, pool: string) => void>()

  constructor(log: EventLog) {
    this.#log = log
    for (const { namespace, id } of log.documents.list(poolMember)) this.#update(namespace, id)
    this.#listening = log.listen(({ aggregate, namespace, subject }) => {
      if (aggregate === poolMember.name) this.#update(namespace, subject.slice(PREFIX.length))
    })
  }

  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]()
  }

  /** Called after each change of a member. */
  onChange(listener: (namespace: string, pool: string) => void): void {
    this.#changed.add(listener)
  }

  of(namespace: string, pool: string): Readonly<{ [Place in keyof Standing]: ReadonlySet<string> }> {
    return this.#standing(`${namespace}/${pool}`)
  }

  /**
   * Takes a ready task out, so that nobody else gets it.
   *
   * @param isCurrent whether it is of the image as it is now; one that is not is taken when no other is there
   */
  takeReady(namespace: string, pool: string, isCurrent: (id: string) => boolean): string | undefined {
    const { ready, claimed } = this.#standing(`${namespace}/${pool}`)
    let taken: string | undefined
    for (const id of ready) {
      taken ??= id
      if (!isCurrent(id)) continue
      taken = id
      break
    }
    if (taken === undefined) return undefined
    // It counts as claimed from here on, before the log says so: the pool is not to be filled for a moment in between.
    ready.delete(taken)
    claimed.add(taken)
    this.#where.set(`${namespace}/${taken}`, { pool, place: 'claimed' })
    return taken
  }

  /** Puts back one that was taken and not claimed. */
  putBack(namespace: string, id: string): void {
    this.#update(namespace, id)
  }

  #update(namespace: string, id: string): void {
    const key = `${namespace}/${id}`
    const before = this.#where.get(key)
    if (before) this.#standing(`${namespace}/${before.pool}`)[before.place].delete(id)
    const state: PoolMemberState = this.#log.documents.get(poolMember, namespace, id)
    const place = placeOf(state)
    if (state.status === 'absent' || place === undefined) this.#where.delete(key)
    else {
      this.#where.set(key, { pool: state.pool, place })
      this.#standing(`${namespace}/${state.pool}`)[place].add(id)
    }
    const pool = state.status === 'absent' ? before?.pool : state.pool
    if (pool !== undefined) for (const changed of this.#changed) changed(namespace, pool)
  }

  #standing(key: string): Standing {
    const standing = this.#standings.get(key) ?? standingOf()
    this.#standings.set(key, standing)
    return standing
  }
}
