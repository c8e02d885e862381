import { randomUUID } from 'node:crypto'
import type { Logger } from 'pino'
import { command, isActive, isEnded } from '../../commands/command.ts'
import { isActiveJob, isEndedJob, type JobState, jobs, type PresentJob } from '../../commands/job.ts'
import type { EventLog } from '../../log/event-log.ts'
import type { StoredEvent } from '../../model/event.ts'
import type { JobTurn } from '../../model/job-turn.ts'
import { insist } from '../../queue/insist.ts'
import type { Intake, Submitter } from '../../queue/intake.ts'
import { type Candidate, FairShare } from './fair-share.ts'

export interface JobSchedulerOptions {
  log: EventLog
  intake: Intake
  /** Jobs that run at once on the node. */
  places: number
  /** Of namespaces against each other; 1 where none is given. */
  weights: Readonly<Record<string, number>>
  /** How long an ended job is kept. */
  keepMs: number
  logger: Logger
}

const TIDY_MS = 60_000
/** Ended jobs that are removed in one go: a crowd that ended together must not hold up what runs. */
const TIDY_MAX = 100
const AGAIN_MS = 1000
const TIMER_MS_MAX = 2 ** 31 - 1
const REASON_CHARACTERS_MAX = 256
const ACTOR = 'purser:jobs'

/**
 * Gives jobs their turn: those that wait are documents and nothing else, no commands and no entries of a queue, until there
 * is a place for one; then it asks for `job.run`. It decides from the log alone, so that a restart goes on where it was.
 */
export class JobScheduler {
  readonly #options: JobSchedulerOptions
  readonly #share: FairShare
  readonly #deadlines = new Map<string, NodeJS.Timeout>()
  readonly #stop = new AbortController()
  readonly #listening: Disposable
  readonly #timer: NodeJS.Timeout
  #isDue = false

  constructor(options: JobSchedulerOptions) {
    this.#options = options
    const { log, places, weights } = options
    this.#share = new FairShare({
      places,
      weightOf: (namespace) => (Object.hasOwn(weights, namespace) ? (weights[namespace] ?? 1) : 1),
    })
    const asked = new Set<string>()
    for (const { namespace, state } of log.documents.list(command))
      if (isActive(state) && state.command.type === 'job.run') asked.add(`${namespace}/${state.command.subject}`)
    for (const { namespace, id, state } of log.documents.list(jobs)) {
      if (state.status === 'absent' || !isActiveJob(state)) continue
      this.#watchDeadline(namespace, id, state)
      const candidate = candidateOf(namespace, id, state)
      if (asked.has(`${namespace}/${id}`)) this.#share.hold(candidate)
      else if (state.status === 'queued') this.#share.wait(candidate)
      else this.#run(candidate) // Whoever ran it is not known any more: another one ends the attempt.
    }
    for (const { namespace, id, state } of log.documents.list(jobs))
      if (state.status === 'queued') this.#replace(candidateOf(namespace, id, state), state)
    this.#listening = log.listen((event) => this.#applied(event))
    this.#timer = setInterval(() => this.#tidy(), TIDY_MS).unref()
    this.#tidy()
    this.#dispatch()
  }

  [Symbol.dispose](): void {
    this.#stop.abort()
    clearInterval(this.#timer)
    for (const timer of this.#deadlines.values()) clearTimeout(timer)
    this.#listening[Symbol.dispose]()
  }

  /** Jobs that wait for a place, and those that have one. */
  get depth(): { waiting: number; running: number } {
    return { waiting: this.#share.waiting, running: this.#share.running }
  }

  /** Where a job stands that waits. */
  turnOf(namespace: string, id: string): JobTurn | undefined {
    return this.#share.turnOf(namespace, id)
  }

  #applied({ aggregate, namespace, subject, type, commandid }: StoredEvent): void {
    if (aggregate === command.name) this.#runEnded(namespace, subject.slice(command.name.length + 1), type)
    if (aggregate !== jobs.name) return
    const id = subject.slice(jobs.name.length + 1)
    switch (type) {
      case 'job.submitted':
      case 'job.attempt-failed': {
        const state = this.#stateOf(namespace, id)
        if (state.status !== 'queued') {
          this.#ended(namespace, id) // It was cancelled while it failed.
          break
        }
        const candidate = candidateOf(namespace, id, state)
        this.#share.wait(candidate)
        if (state.submission === commandid) {
          this.#watchDeadline(namespace, id, state)
          this.#replace(candidate, state)
        }
        break
      }
      case 'job.succeeded':
      case 'job.failed':
      case 'job.cancelled':
        this.#ended(namespace, id)
        break
      default:
        return
    }
    this.#dispatch()
  }

  #ended(namespace: string, id: string): void {
    this.#share.remove(namespace, id)
    clearTimeout(this.#deadlines.get(`${namespace}/${id}`))
    this.#deadlines.delete(`${namespace}/${id}`)
  }

  #watchDeadline(namespace: string, id: string, { spec: { deadline }, submission }: PresentJob): void {
    if (deadline === undefined) return
    const leftMs = Date.parse(deadline) - Date.now()
    const act = () => {
      const state = this.#stateOf(namespace, id)
      if (state.status === 'absent' || state.submission !== submission || !isActiveJob(state)) return
      if (leftMs > TIMER_MS_MAX) return this.#watchDeadline(namespace, id, state)
      const payload = { reason: `its deadline, ${deadline}, has passed` }
      const idempotencyKey = `job/${id}/${submission}/deadline`
      this.#submit({ type: 'job.cancel', subject: id, namespace, payload, idempotencyKey })
    }
    const timer = setTimeout(act, Math.min(Math.max(0, leftMs), TIMER_MS_MAX)).unref()
    this.#deadlines.set(`${namespace}/${id}`, timer)
  }

  /** Once for all that happens in one turn of the event loop. */
  #dispatch(): void {
    if (this.#isDue || this.#stop.signal.aborted) return
    this.#isDue = true
    setImmediate(() => {
      this.#isDue = false
      if (this.#stop.signal.aborted) return
      for (let next = this.#share.take(); next !== undefined; next = this.#share.take()) this.#run(next)
    })
  }

  #run(candidate: Candidate): void {
    const { namespace, id, priority } = candidate
    this.#share.hold(candidate)
    const state = this.#stateOf(namespace, id)
    if (state.status === 'absent') return
    const { submission, submittedBy, attempts } = state
    const attempt = attempts.length + (state.status === 'queued' ? 1 : 0)
    const asked = this.#options.log.documents.get(command, namespace, submission)
    const traceparent = asked.status === 'absent' ? undefined : asked.command.traceparent
    const request = {
      type: 'job.run',
      subject: id,
      namespace,
      priority,
      payload: { attempt },
      idempotencyKey: randomUUID(),
      ...(traceparent === undefined ? {} : { traceparent }),
    }
    // On behalf of whoever submitted it: what it leads to is theirs, in the audit trail too.
    this.#submit(request, { actor: submittedBy, correlationId: submission }, () => this.#share.remove(namespace, id))
  }

  /** A command that ended and left its job as it was: cancelled by itself, or broken. */
  #runEnded(namespace: string, commandId: string, type: string): void {
    if (type !== 'command.failed' && type !== 'command.cancelled') return
    const ended = this.#options.log.documents.get(command, namespace, commandId)
    if (!isEnded(ended) || ended.command.type !== 'job.run' || !('error' in ended)) return
    const id = ended.command.subject
    const left = this.#stateOf(namespace, id)
    if (left.status === 'queued') {
      const payload = { reason: ended.error.message.slice(0, REASON_CHARACTERS_MAX) }
      this.#submit({ type: 'job.cancel', subject: id, namespace, payload, idempotencyKey: `job/${commandId}` })
    } else if (left.status === 'running') {
      const again = () => this.#run(candidateOf(namespace, id, left))
      setTimeout(() => this.#stop.signal.aborted || again(), AGAIN_MS).unref()
    }
  }

  /** Ends the jobs of its group that came before it, where it says so. */
  #replace(candidate: Candidate, { spec: { concurrency } }: PresentJob): void {
    if (concurrency?.cancelInProgress !== true) return
    const { namespace, id: by } = candidate
    for (const id of this.#share.olderOfGroup(candidate)) {
      const payload = { reason: `job ${by} of its concurrency group came after it` }
      this.#submit({ type: 'job.cancel', subject: id, namespace, payload, idempotencyKey: `job/${id}/before-${by}` })
    }
  }

  #tidy(): void {
    const before = Date.now() - this.#options.keepMs
    let left = TIDY_MAX
    for (const { namespace, id, state } of this.#options.log.documents.list(jobs)) {
      if (!isEndedJob(state) || Date.parse(state.endedAt) > before) continue
      if (left-- === 0) return
      this.#submit({ type: 'job.remove', subject: id, namespace, idempotencyKey: `job/${id}/${state.submission}/keep` })
    }
  }

  #stateOf(namespace: string, id: string): JobState {
    return this.#options.log.documents.get(jobs, namespace, id)
  }

  #submit(
    request: Parameters<Intake['submit']>[0],
    submitter: Submitter = { actor: ACTOR },
    onRefusal = () => {},
  ): void {
    const { intake, logger } = this.#options
    const submit = () => intake.submit(request, submitter)
    insist('a job', submit, { logger, signal: this.#stop.signal }).catch((err) => {
      if (this.#stop.signal.aborted) return
      onRefusal()
      logger.error({ err, type: request.type, subject: request.subject }, 'a job could not be seen to')
    })
  }
}

function candidateOf(namespace: string, id: string, { spec, submission }: PresentJob): Candidate {
  const { priority, concurrency } = spec
  return {
    namespace,
    id,
    priority,
    order: submission,
    ...(concurrency === undefined ? {} : { group: { name: concurrency.group, max: concurrency.max } }),
  }
}
