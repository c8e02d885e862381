import type { JobTurn } from '../../model/job-turn.ts'

/** A job that waits for a place, or has one. */
export interface Candidate {
  namespace: string
  id: string
  /** 1 is the most urgent. */
  priority: number
  /** Of equally urgent ones the least goes first: the id of the command that submitted it, in the order of time. */
  order: string
  group?: { name: string; max: number }
}

export interface FairShareOptions {
  /** Jobs that run at once. */
  places: number
  /** Of a namespace, against the others; above 0. */
  weightOf(namespace: string): number
}

/** A concurrency group. */
interface Group {
  /** Sorted; the one in front decides whether there is room. */
  waiting: Candidate[]
  running: Set<string>
  /** The one in front, when there is room for it. */
  ready?: Candidate | undefined
}

interface Share {
  weight: number
  running: number
  /** Places that it was given, by its weight: of namespaces that have as much, the one with the least goes first. */
  served: number
  /** Jobs that may have the next place, sorted: those of no group, and of each group that has room the one in front. */
  ready: Candidate[]
  groups: Map<string, Group>
}

/**
 * Who gets the next place. First the namespace that has the fewest jobs running for its weight, of equal ones the one that
 * was given fewer places for its weight; then, within it, the most urgent job whose group has room, of equally urgent ones
 * the oldest. In memory alone: what it knows is made anew from the log.
 */
export class FairShare {
  readonly #options: FairShareOptions
  readonly #shares = new Map<string, Share>()
  readonly #waiting = new Map<string, Candidate>()
  readonly #running = new Map<string, Candidate>()

  constructor(options: FairShareOptions) {
    this.#options = options
  }

  get running(): number {
    return this.#running.size
  }

  get waiting(): number {
    return this.#waiting.size
  }

  /** Puts a job in the line; one that has a place gives it back. */
  wait(candidate: Candidate): void {
    const key = keyOf(candidate)
    this.remove(candidate.namespace, candidate.id)
    const share = this.#shareOf(candidate.namespace)
    // Who asked for nothing for a while is owed nothing for it.
    if (isIdle(share)) share.served = Math.max(share.served, this.#leastServed())
    this.#waiting.set(key, candidate)
    if (candidate.group === undefined) insert(share.ready, candidate)
    else changeGroup(share, candidate.group.name, ({ waiting }) => insert(waiting, candidate))
  }

  /** Gives a job a place that it has already, whatever its turn: after a restart. */
  hold(candidate: Candidate): void {
    this.remove(candidate.namespace, candidate.id)
    this.#place(candidate, this.#shareOf(candidate.namespace))
  }

  /** Gives the next job a place. @returns undefined when there is no place, or nobody who may have it */
  take(): Candidate | undefined {
    if (this.#running.size >= this.#options.places) return undefined
    let best: { share: Share; first: Candidate } | undefined
    for (const share of this.#shares.values()) {
      const [first] = share.ready
      if (first && (best === undefined || goesBefore(share, first, best.share, best.first))) best = { share, first }
    }
    if (best === undefined) return undefined
    const { share, first } = best
    this.remove(first.namespace, first.id)
    this.#place(first, share)
    share.served += 1 / share.weight
    return first
  }

  /** Takes a job out of the line, or its place from it. @returns whether it was here */
  remove(namespace: string, id: string): boolean {
    const key = keyOf({ namespace, id })
    const share = this.#shareOf(namespace)
    const waits = this.#waiting.get(key)
    if (waits !== undefined) {
      this.#waiting.delete(key)
      if (waits.group === undefined) take(share.ready, waits)
      else changeGroup(share, waits.group.name, ({ waiting }) => take(waiting, waits))
      return true
    }
    const runs = this.#running.get(key)
    if (runs === undefined) return false
    this.#running.delete(key)
    share.running -= 1
    if (runs.group) changeGroup(share, runs.group.name, ({ running }) => running.delete(id))
    return true
  }

  /** Where a job stands that waits. */
  turnOf(namespace: string, id: string): JobTurn | undefined {
    const candidate = this.#waiting.get(keyOf({ namespace, id }))
    if (candidate === undefined) return undefined
    const share = this.#shareOf(namespace)
    const full = candidate.group && fullGroup(share, candidate.group)
    let othersWaiting = 0
    for (const other of this.#shares.values()) if (other !== share && other.ready.length > 0) othersWaiting += 1
    return {
      running: this.#running.size,
      places: this.#options.places,
      runningOfNamespace: share.running,
      ahead: placeIn(full?.waiting ?? share.ready, candidate),
      othersWaiting,
      ...(full && candidate.group ? { fullGroup: { ...candidate.group, running: full.running.size } } : {}),
    }
  }

  /** Jobs of a group that came before another one, waiting or running. */
  olderOfGroup({ namespace, order, group }: Candidate): string[] {
    const all = group && this.#shareOf(namespace).groups.get(group.name)
    if (all === undefined) return []
    const running = [...all.running].flatMap((id) => this.#running.get(keyOf({ namespace, id })) ?? [])
    return [...running, ...all.waiting].filter((each) => each.order < order).map(({ id }) => id)
  }

  #place(candidate: Candidate, share: Share): void {
    this.#running.set(keyOf(candidate), candidate)
    share.running += 1
    if (candidate.group) changeGroup(share, candidate.group.name, ({ running }) => running.add(candidate.id))
  }

  #shareOf(namespace: string): Share {
    const known = this.#shares.get(namespace)
    if (known) return known
    const weight = this.#options.weightOf(namespace)
    const share: Share = { weight, running: 0, served: 0, ready: [], groups: new Map() }
    this.#shares.set(namespace, share)
    return share
  }

  #leastServed(): number {
    let least: number | undefined
    for (const share of this.#shares.values())
      if (!isIdle(share) && (least === undefined || share.served < least)) least = share.served
    return least ?? 0
  }
}

const keyOf = ({ namespace, id }: Pick<Candidate, 'namespace' | 'id'>): string => `${namespace}/${id}`

const isIdle = ({ running, ready, groups }: Share): boolean => running === 0 && ready.length === 0 && groups.size === 0

function fullGroup(share: Share, { name, max }: { name: string; max: number }): Group | undefined {
  const group = share.groups.get(name)
  return group !== undefined && group.running.size >= max ? group : undefined
}

/** Changes a group, and which of its jobs may go next. */
function changeGroup(share: Share, name: string, change: (group: Group) => void): void {
  const group: Group = share.groups.get(name) ?? { waiting: [], running: new Set() }
  share.groups.set(name, group)
  change(group)
  const [front] = group.waiting
  const ready = front?.group !== undefined && group.running.size < front.group.max ? front : undefined
  if (ready !== group.ready) {
    if (group.ready) take(share.ready, group.ready)
    if (ready) insert(share.ready, ready)
    group.ready = ready
  }
  if (group.waiting.length === 0 && group.running.size === 0) share.groups.delete(name)
}

function insert(sorted: Candidate[], candidate: Candidate): void {
  sorted.splice(placeIn(sorted, candidate), 0, candidate)
}

function take(sorted: Candidate[], candidate: Candidate): void {
  const at = placeIn(sorted, candidate)
  if (sorted[at] === candidate) sorted.splice(at, 1)
}

/** Urgent before less urgent, then old before young. */
function compare(a: Candidate, b: Candidate): number {
  if (a.priority !== b.priority) return a.priority - b.priority
  return a.order < b.order ? -1 : a.order > b.order ? 1 : 0
}

function goesBefore(a: Share, firstOfA: Candidate, b: Share, firstOfB: Candidate): boolean {
  const [runningA, runningB] = [a.running / a.weight, b.running / b.weight]
  if (runningA !== runningB) return runningA < runningB
  if (a.served !== b.served) return a.served < b.served
  return firstOfA.order < firstOfB.order
}

/** Where it stands in a sorted line, or would. */
function placeIn(line: readonly Candidate[], candidate: Candidate): number {
  let low = 0
  let high = line.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const at = line[middle]
    if (at !== undefined && compare(at, candidate) < 0) low = middle + 1
    else high = middle
  }
  return low
}
