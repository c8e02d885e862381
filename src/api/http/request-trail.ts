import type { Logger } from 'pino'
import type { EventLog } from '../../log/event-log.ts'
import type { Fact } from '../../model/aggregate.ts'
import { spontaneous } from '../../model/event.ts'
import { uuidv7 } from '../../model/ids.ts'
import type { Problem } from './problem.ts'

/** Which requests that become no command are put on record. */
export interface RecordedRequests {
  refused: boolean
  reads: boolean
}

interface Answered {
  actor: string
  method: string
  /** Path without its query. */
  target: string
  status: number
  problem: Problem | undefined
}

/** More than these in one turn are counted, not recorded: a client that asks for nonsense must not fill the log. */
const WAITING_MAX = 1000
const FLUSH_MS = 50
/** What monitoring asks all the time. */
const UNRECORDED = new Set(['/healthz', '/metrics', '/readyz'])
/** For want of a right, which is told also of those that would only have read. */
const DENIED = new Set<string | undefined>(['permission_denied', 'unauthenticated'])

/** Writes requests that were refused, and where it is asked for those that only read, into the log. */
export class RequestTrail {
  readonly #log: EventLog
  readonly #which: RecordedRequests
  readonly #logger: Logger
  readonly #waiting = new Map<string, Fact[]>()
  #count = 0
  #left = 0
  #timer: NodeJS.Timeout | undefined

  constructor(log: EventLog, which: RecordedRequests, logger: Logger) {
    this.#log = log
    this.#which = which
    this.#logger = logger
  }

  note({ actor, method, target, status, problem }: Answered): void {
    const asked = { surface: 'http', method, target: target.slice(0, 1024) }
    if (method === 'GET' && !DENIED.has(problem?.code)) {
      if (!this.#which.reads || UNRECORDED.has(target)) return
      this.#add(actor, 'request.read', { ...asked, status })
    } else if (problem !== undefined && this.#which.refused) {
      // One that failed as a command, or for Redis's absence, is told by the command, or cannot be.
      if (problem.command !== undefined || problem.code === 'unavailable') return
      // Without the value where a field is at fault: it may be anything, typed into the wrong place.
      const message = problem.field === undefined ? problem.detail : `${problem.field} is not valid`
      this.#add(actor, 'request.refused', { ...asked, code: problem.code, message })
    }
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer)
    await this.#flush()
  }

  #add(actor: string, type: string, data: Record<string, unknown>): void {
    if (this.#count >= WAITING_MAX) {
      this.#left += 1
      return
    }
    this.#count += 1
    const facts = this.#waiting.get(actor) ?? []
    this.#waiting.set(actor, facts)
    facts.push({ aggregate: 'request', id: uuidv7(), type, data })
    this.#timer ??= setTimeout(() => void this.#flush(), FLUSH_MS).unref()
  }

  async #flush(): Promise<void> {
    this.#timer = undefined
    const batches = [...this.#waiting]
    this.#waiting.clear()
    this.#count = 0
    try {
      if (this.#left > 0) this.#logger.warn({ requests: this.#left }, 'too many requests to record them all')
      this.#left = 0
      for (const [actor, facts] of batches) await this.#log.record(facts, 'default', { ...spontaneous('http'), actor })
    } catch (err) {
      this.#logger.warn({ err }, 'requests could not be recorded')
    }
  }
}
