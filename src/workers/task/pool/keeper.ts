import { availableParallelism, freemem, totalmem } from 'node:os'
import type { Logger } from 'pino'
import { command, isActive, isEnded } from '../../../commands/command.ts'
import { image } from '../../../commands/image.ts'
import { type PoolState, pool } from '../../../commands/pool.ts'
import { poolMember } from '../../../commands/pool-member.ts'
import { tasks } from '../../../commands/task.ts'
import type { EventLog } from '../../../log/event-log.ts'
import type { StoredEvent } from '../../../model/event.ts'
import { randomContainerId } from '../../../model/ids.ts'
import { insist } from '../../../queue/insist.ts'
import type { Intake } from '../../../queue/intake.ts'
import { recordFact } from '../record-fact.ts'
import type { PoolMembers } from './members.ts'
import { DemandMeter, idleWanted } from './sizing.ts'

export interface PoolKeeperOptions {
  log: EventLog
  intake: Intake
  members: PoolMembers
  logger: Logger
}

/** Tasks that are warmed up at once, on the node: more would only wait for each other, and take the machine from those that run. */
const WARMING_MAX = Math.min(4, availableParallelism())
/** Behind what callers wait for. */
const PRIORITY = 1000
/** Below this share of the host's memory no task is started ahead. */
const FREE_MEMORY_MIN = 0.1
const REVIEW_MS = 5000
const BACKOFF_MS = 1000
const BACKOFF_MS_MAX = 60_000

/** How a pool stands: it has what it is to have, is being filled, or cannot be. */
type PoolStanding = 'full' | 'filling' | 'limited' | 'failing' | 'starved'

type PresentPool = Exclude<PoolState, { status: 'absent' }>

/** What the keeper remembers of a pool; nothing that a restart must not forget. */
interface Course {
  meter: DemandMeter
  /** Asked for and not yet in the log, or not yet begun. */
  asked: Set<string>
  lull: NodeJS.Timeout | undefined
  failures: number
  notBefore: number
}

/**
 * Keeps pools filled: asks for tasks where there are too few, and for the end of those that are too many, too old, of an
 * image that has changed, or have ended. It decides from the log alone, so that a restart goes on where it was.
 */
export class PoolKeeper {
  readonly #options: PoolKeeperOptions
  readonly #courses = new Map<string, Course>()
  readonly #due = new Set<string>()
  /** Whose end was asked for. */
  readonly #retiring = new Set<string>()
  readonly #stop = new AbortController()
  readonly #listening: Disposable
  readonly #timer: NodeJS.Timeout

  constructor(options: PoolKeeperOptions) {
    this.#options = options
    const { log, members } = options
    for (const { state } of log.documents.list(command)) {
      if (isActive(state) && state.command.type === 'pool-member.warm')
        this.#asked(state.command.namespace, state.command.subject, state.command.payload)
    }
    members.onChange((namespace, name) => this.#review(namespace, name))
    this.#listening = log.listen((event) => this.#applied(event))
    this.#timer = setInterval(() => this.#lookAround(), REVIEW_MS).unref()
    this.#lookAround()
  }

  [Symbol.dispose](): void {
    this.#stop.abort()
    clearInterval(this.#timer)
    this.#listening[Symbol.dispose]()
  }

  /** How many ready tasks a pool is to have now. */
  wanted(namespace: string, name: string): number {
    const state: PoolState = this.#options.log.documents.get(pool, namespace, name)
    if (state.status !== 'present') return 0
    return idleWanted(state.sizing, this.#course(namespace, name).meter.demand(Date.now()))
  }

  /** How many pools stand how. */
  get standings(): Readonly<Record<PoolStanding, number>> {
    const counts = { full: 0, filling: 0, limited: 0, failing: 0, starved: 0 }
    for (const { namespace, id, state } of this.#options.log.documents.list(pool))
      if (state.status === 'present') counts[this.#standingOf(namespace, id, state)] += 1
    return counts
  }

  #standingOf(namespace: string, name: string, { tasksMax }: PresentPool): PoolStanding {
    const { ready, claimed } = this.#options.members.of(namespace, name)
    if (ready.size >= this.wanted(namespace, name)) return 'full'
    if (ready.size + claimed.size >= tasksMax) return 'limited'
    if (this.#course(namespace, name).failures > 0) return 'failing'
    return hasMemory() ? 'filling' : 'starved'
  }

  #applied(event: StoredEvent): void {
    const { namespace, type } = event
    const id = event.subject.slice(event.aggregate.length + 1)
    if (event.aggregate === pool.name) this.#review(namespace, id)
    else if (type === 'image.pulled' || type === 'image.tagged') this.#reviewAll()
    else if (type === 'task.exited') this.#retireIfReady(namespace, id)
    else if (type === 'pool-member.retiring') this.#retireWhatClaimsLeft(event, id)
    else if (type === 'command.accepted') this.#claimArrived(event)
    else if (type === 'command.succeeded' || type === 'command.failed' || type === 'command.cancelled')
      this.#ended(namespace, id)
  }

  #claimArrived({ namespace, data }: StoredEvent): void {
    const accepted = (data as { command?: { type?: unknown; subject?: unknown } }).command
    if (accepted?.type !== 'pool.claim' || typeof accepted.subject !== 'string') return
    this.#course(namespace, accepted.subject).meter.arrived(Date.now())
    this.#review(namespace, accepted.subject)
  }

  /** How a command ended that was asked for here. */
  #ended(namespace: string, commandId: string): void {
    const state = this.#options.log.documents.get(command, namespace, commandId)
    if (!isEnded(state) || state.command.aggregate !== poolMember.name) return
    const { type, subject, payload } = state.command
    if (type === 'pool-member.retire') this.#retiring.delete(`${namespace}/${subject}`)
    if (type !== 'pool-member.warm') return
    const name = poolOf(payload)
    const course = this.#course(namespace, name)
    course.asked.delete(subject)
    if (state.status === 'succeeded') {
      course.failures = 0
      this.#recordFault(namespace, name, undefined)
      course.meter.warmed(Date.parse(state.endedAt) - Date.parse(state.startedAt ?? state.endedAt))
    } else if (state.status === 'failed') {
      course.failures += 1
      const waitMs = Math.min(BACKOFF_MS * 2 ** (course.failures - 1), BACKOFF_MS_MAX)
      course.notBefore = Date.now() + waitMs
      const { logger } = this.#options
      logger.warn(
        { namespace, pool: name, reason: state.error.message, waitMs },
        'a task of a pool did not become ready',
      )
      this.#recordFault(namespace, name, state.error.message)
    }
    this.#review(namespace, name)
  }

  /** Of a pool that fails for long the first error tells. */
  #recordFault(namespace: string, name: string, error: string | undefined): void {
    const { log, logger } = this.#options
    const isDue = () => {
      const state: PoolState = log.documents.get(pool, namespace, name)
      return state.status !== 'absent' && (state.fault === undefined) === (error !== undefined)
    }
    if (!isDue()) return
    const fact =
      error === undefined ? pool.fact(name, 'pool.restored', {}) : pool.fact(name, 'pool.degraded', { error })
    const { signal } = this.#stop
    recordFact(log, fact, { namespace, by: 'pool-keeper', isDue, logger, signal }).catch((err) => {
      if (!signal.aborted) logger.error({ err, namespace, pool: name }, 'how a pool stands could not be recorded')
    })
  }

  #asked(namespace: string, id: string, payload: unknown): void {
    this.#course(namespace, poolOf(payload)).asked.add(id)
  }

  #course(namespace: string, name: string): Course {
    const key = `${namespace}/${name}`
    const course = this.#courses.get(key) ?? {
      meter: new DemandMeter(),
      asked: new Set(),
      lull: undefined,
      failures: 0,
      notBefore: 0,
    }
    this.#courses.set(key, course)
    return course
  }

  #lookAround(): void {
    if (this.#options.log.documents.count(pool.name) === 0) return
    this.#reviewAll()
    this.#retireEnded()
  }

  #reviewAll(): void {
    for (const { namespace, id } of this.#options.log.documents.list(pool)) this.#review(namespace, id)
  }

  /** Once for all that happens in one turn of the event loop. */
  #review(namespace: string, name: string): void {
    const key = `${namespace}/${name}`
    if (this.#due.has(key) || this.#stop.signal.aborted) return
    this.#due.add(key)
    setImmediate(() => {
      this.#due.delete(key)
      if (!this.#stop.signal.aborted) this.#bringToSize(namespace, name)
    })
  }

  #bringToSize(namespace: string, name: string): void {
    const { log, members } = this.#options
    const state: PoolState = log.documents.get(pool, namespace, name)
    if (state.status === 'absent') {
      this.#courses.delete(`${namespace}/${name}`)
      return
    }
    if (state.status === 'deleting') return // Its removal sees to them.
    const course = this.#course(namespace, name)
    const { ready, coming, claimed } = members.of(namespace, name)
    for (const id of coming) course.asked.delete(id)
    const wanted = this.wanted(namespace, name)
    const stale = [...ready].filter((id) => this.#isStale(namespace, id, state))
    const fresh = [...ready].filter((id) => !stale.includes(id))
    // The last ready ones of an old image go when those of the new one are there.
    const surplus = [
      ...stale.slice(0, Math.max(0, ready.size - wanted)),
      ...fresh.slice(0, Math.max(0, fresh.length - wanted)),
    ]
    for (const id of surplus) this.#retire(namespace, id, stale.includes(id) ? 'it is too old' : 'it is not needed')
    const total = ready.size + coming.size + claimed.size + course.asked.size
    const missing = Math.min(wanted - fresh.length - coming.size - course.asked.size, state.tasksMax - total)
    // In a burst it would slow down the claims, and no task would be ready before they have taken what is there.
    if (missing > 0 && ready.size > 0 && this.#isInBurst(course, namespace, name)) return
    for (let n = 0; n < missing && this.#mayWarm(course); n++) this.#warm(namespace, name)
  }

  /** Looks again once it is over. */
  #isInBurst(course: Course, namespace: string, name: string): boolean {
    const leftMs = course.meter.burstLeftMs(Date.now(), WARMING_MAX)
    if (leftMs <= 0) return false
    course.lull ??= setTimeout(() => {
      course.lull = undefined
      this.#review(namespace, name)
    }, leftMs).unref()
    return true
  }

  #mayWarm(course: Course): boolean {
    let under = 0
    for (const { asked } of this.#courses.values()) under += asked.size
    for (const { state } of this.#options.log.documents.list(poolMember)) if (state.status === 'warming') under += 1
    return under < WARMING_MAX && Date.now() >= course.notBefore && hasMemory()
  }

  /** Of another image than its name stands for by now, or ready for too long. */
  #isStale(namespace: string, id: string, { template, reuse }: PresentPool): boolean {
    const { documents } = this.#options.log
    const member = documents.get(poolMember, namespace, id)
    if (member.status !== 'ready') return false
    const now = documents.get(image, namespace, template.image)
    if (now.status === 'present' && now.manifest.digest !== member.manifest) return true
    return (
      reuse.mode === 'reuse' && reuse.ageMsMax !== undefined && Date.now() - Date.parse(member.madeAt) > reuse.ageMsMax
    )
  }

  #warm(namespace: string, name: string): void {
    const id = `${name}-${randomContainerId()}`
    const payload = { pool: name }
    this.#asked(namespace, id, payload)
    this.#submit({ type: 'pool-member.warm', subject: id, namespace, priority: PRIORITY, payload }, () => {
      this.#course(namespace, name).asked.delete(id)
    })
  }

  #retire(namespace: string, id: string, reason: string): void {
    const key = `${namespace}/${id}`
    if (this.#retiring.has(key)) return
    this.#retiring.add(key)
    this.#submit({ type: 'pool-member.retire', subject: id, namespace, payload: { reason } }, () => {
      this.#retiring.delete(key)
    })
  }

  /** A ready task that has ended is of no use to anybody; one that is claimed is its caller's until it is handed back. */
  #retireIfReady(namespace: string, id: string): void {
    if (this.#options.log.documents.get(poolMember, namespace, id).status === 'ready')
      this.#retire(namespace, id, 'it has ended')
  }

  /** A claim only says which task it could not use. */
  #retireWhatClaimsLeft({ namespace, commandid, data }: StoredEvent, id: string): void {
    const by = this.#options.log.documents.get(command, namespace, commandid)
    if (by.status === 'absent' || by.command.type !== 'pool.claim') return
    this.#retire(namespace, id, String(Reflect.get(Object(data), 'reason')))
  }

  /** Those that are of no use, and that no command is about: as after a crash, or where a removal has failed. */
  #retireEnded(): void {
    const { documents } = this.#options.log
    const inHand = new Set<string>()
    for (const { namespace, state } of documents.list(command)) {
      if (!isActive(state)) continue
      const { aggregate, type, subject, payload } = state.command
      if (aggregate === poolMember.name) inHand.add(`${namespace}/${subject}`)
      if (type === 'pool.release') inHand.add(`${namespace}/${textOf(payload, 'id')}`)
    }
    for (const { namespace, id, state } of documents.list(poolMember)) {
      if (inHand.has(`${namespace}/${id}`)) continue
      const { status } = documents.get(tasks, namespace, id)
      const isOver = status === 'stopped' || status === 'absent'
      const isUseless = state.status === 'retiring' || state.status === 'warming' || state.status === 'returned'
      if (isUseless || (state.status === 'ready' && isOver)) this.#retire(namespace, id, 'it has ended')
    }
  }

  #submit(request: Parameters<Intake['submit']>[0], onRefusal: () => void): void {
    const { intake, logger } = this.#options
    const submit = () => intake.submit(request, { actor: 'purser:pool' })
    insist('a task of a pool', submit, { logger, signal: this.#stop.signal }).catch((err) => {
      if (this.#stop.signal.aborted) return
      onRefusal()
      logger.warn({ err, subject: request.subject }, 'a pool could not be brought to size')
    })
  }
}

const hasMemory = (): boolean => freemem() > FREE_MEMORY_MIN * totalmem()

const poolOf = (payload: unknown): string => textOf(payload, 'pool')

function textOf(payload: unknown, field: string): string {
  const value = typeof payload === 'object' && payload !== null ? Reflect.get(payload, field) : undefined
  return typeof value === 'string' ? value : ''
}
