import type { Logger } from 'pino'
import { type ActiveCommand, command, isActive } from '../commands/command.ts'
import { commandTypes } from '../commands/index.ts'
import type { Change, EventLog } from '../log/event-log.ts'
import { type Fact, isRefusal } from '../model/aggregate.ts'
import type { CommandEnvelope, CommandRequest } from '../model/command.ts'
import { errorCodeOf, PurserError, toPurserError } from '../model/errors.ts'
import { processSpan } from '../tracing/spans.ts'
import { noTracing, type Span, type SpanFailure, type Tracer, withTraceparent } from '../tracing/tracer.ts'
import type { Handler, Job, Outcome } from './handler.ts'
import { type Accepted, causeOf, type Intake } from './intake.ts'
import { type Outcomes, resultOf } from './outcomes.ts'

/** Why an attempt ends without an outcome: another one will be made. */
class Interrupted extends Error {
  constructor(why: string, cause?: unknown) {
    super(why, { cause })
    this.name = 'Interrupted'
  }
}

/** An attempt that the log knows of. */
interface Begun {
  attempt: number
  /** Position of its `command.started`, or of the first event written with that. */
  token: number
}

interface AttemptScope {
  signal: AbortSignal
  /** The part of it that leaves the command active. */
  interrupt: AbortSignal
  /** Fenced: facts that are true whatever else was written, and changes at their versions. */
  record: (facts: readonly Fact[], release?: true) => Promise<void>
  write: (changes: readonly Change[]) => Promise<'written' | 'conflict' | 'duplicate'>
  /** Has a step accepted. */
  submit: (request: CommandRequest) => Promise<Accepted>
  logger: Logger
}

export interface HarnessOptions<Effects> {
  log: EventLog
  intake: Intake
  outcomes: Outcomes
  handlers: readonly Handler<Effects>[]
  effects: Effects
  tracer?: Tracer
  logger: Logger
}

/**
 * Runs handlers. Whatever the queue does, a handler is called only while the log holds no outcome for its command, and
 * ends in exactly one outcome, written together with its facts.
 */
export class Harness<Effects> {
  readonly #options: HarnessOptions<Effects>
  readonly #handlers: ReadonlyMap<string, Handler<Effects>>
  readonly #running = new Map<string, AbortController>()
  readonly #stop = new AbortController()

  constructor(options: HarnessOptions<Effects>) {
    this.#options = options
    this.#handlers = new Map(options.handlers.map((handler) => [handler.type, handler]))
    options.log.listen((event) => {
      if (event.type !== 'command.cancel-requested') return
      const running = this.#running.get(event.subject.slice('command/'.length))
      running?.abort(new PurserError('cancelled', `cancelled by ${event.actor}`))
    })
  }

  isRunning(commandId: string): boolean {
    return this.#running.has(commandId)
  }

  /** Interrupts every attempt; their commands stay active and go on after the next start. */
  async stop(): Promise<void> {
    this.#stop.abort(new Interrupted('the daemon stops'))
    while (this.#running.size > 0) await new Promise((resolve) => setTimeout(resolve, 5))
  }

  /**
   * Makes one attempt at a command, if it is active and no attempt is under way.
   *
   * @param lost aborts when the queue gives the job to somebody else
   * @param given of how it came here, when that is traced; and what it has begun with, when the log has that already
   */
  async attempt(
    namespace: string,
    commandId: string,
    worker: string,
    lost: AbortSignal,
    { traceparent, token }: { traceparent?: string | undefined; token?: number } = {},
  ): Promise<void> {
    const { log } = this.#options
    const state = log.documents.get(command, namespace, commandId)
    if (!isActive(state) || this.#running.has(commandId) || this.#stop.signal.aborted) return
    const handler = this.#handlers.get(state.command.type)
    if (!handler)
      return await this.#end(state, new PurserError('unimplemented', `nothing carries out ${state.command.type}`))
    const cancel = new AbortController()
    if (state.cancelRequested) cancel.abort(new PurserError('cancelled', 'cancelled before it began'))
    this.#running.set(commandId, cancel)
    const { tracer = noTracing } = this.#options
    const { command: envelope, attempts } = state
    const attempt = token === undefined ? attempts + 1 : attempts
    const span = tracer.start(processSpan(worker, envelope, attempt), traceparent ?? envelope.traceparent)
    let failed: SpanFailure | undefined = { type: 'interrupted' }
    try {
      failed = await withTraceparent(span.traceparent, async () => {
        const traced = withSpan(state, span)
        const begun = token === undefined ? await this.#begin(traced, worker) : { attempt, token }
        return begun && (await this.#attempt(traced, handler, worker, begun, cancel.signal, lost))
      })
    } finally {
      span.end(failed)
      this.#running.delete(commandId)
    }
  }

  /** Has the log name a new attempt; nothing when the command has ended meanwhile, or is offered again. */
  async #begin({ command: envelope, attempts }: ActiveCommand, worker: string): Promise<Begun | undefined> {
    const { log } = this.#options
    const { id, namespace } = envelope
    const attempt = attempts + 1
    const started = log.changesOf([command.fact(id, 'command.started', { attempt, worker })], namespace)
    const appended = await log.append(started, causeOf(envelope), { fence: { commandId: id, take: true } })
    return appended.outcome === 'written' ? { attempt, token: appended.first } : undefined
  }

  /** @returns how it failed, if it did */
  async #attempt(
    state: ActiveCommand,
    handler: Handler<Effects>,
    worker: string,
    { attempt, token }: Begun,
    cancel: AbortSignal,
    lost: AbortSignal,
  ): Promise<SpanFailure | undefined> {
    const { log, intake } = this.#options
    const envelope = state.command
    const { id, type, namespace } = envelope
    const logger = this.#options.logger.child({ commandId: id, type, namespace, subject: envelope.subject, worker })
    const begunAt = performance.now()
    const fence = { commandId: id, token }
    const unwritable = new AbortController()
    const interrupt = AbortSignal.any([lost, this.#stop.signal, unwritable.signal])
    const signal = AbortSignal.any([cancel, interrupt, ...deadlineOf(envelope)])
    const cause = causeOf(envelope)
    // An attempt that cannot write is over, whatever its handler makes of the error: nothing of it is undone either.
    const written = async <T>(writing: Promise<T>): Promise<T> => {
      try {
        return await writing
      } catch (error) {
        if (!isOfTheLog(error)) throw error
        unwritable.abort(new Interrupted('the log could not be written', error))
        throw unwritable.signal.reason
      }
    }
    const record = async (facts: readonly Fact[], release?: true) => {
      await written(log.record(facts, namespace, cause, { fence: release ? { ...fence, release } : fence }))
    }
    const write = async (changes: readonly Change[]) => (await written(log.append(changes, cause, { fence }))).outcome
    const submit = (request: CommandRequest) =>
      written(intake.submit(request, { actor: envelope.actor, parent: envelope }))
    let outcome: Outcome
    try {
      signal.throwIfAborted()
      outcome = await handler.handle(this.#job(envelope, attempt, { signal, interrupt, record, write, submit, logger }))
    } catch (thrown) {
      if (interrupt.aborted || thrown instanceof Interrupted) {
        logger.warn({ err: thrown, attempt }, 'attempt interrupted')
        return { type: 'interrupted' }
      }
      const error = endingError(thrown, signal)
      if (error.code === 'internal') logger.error({ err: thrown }, 'command failed unexpectedly')
      else logger.info({ code: error.code, reason: error.message }, 'command failed')
      await record([failure(envelope, error, performance.now() - begunAt)], true)
      return { type: error.code, message: error.message }
    }
    const durationMs = performance.now() - begunAt
    const result = outcome.result ?? {}
    await record(
      [...outcome.facts, command.fact(id, 'command.succeeded', { result, durationMs: round(durationMs) })],
      true,
    )
    logger.debug({ durationMs: round(durationMs) }, 'command succeeded')
    return undefined
  }

  #job(
    envelope: CommandEnvelope,
    attempt: number,
    { signal, interrupt, record, write, submit, logger }: AttemptScope,
  ): Job<unknown, unknown, Effects> {
    const { log, effects, intake } = this.#options
    const { enclosures } = intake
    const { namespace, subject } = envelope
    const aggregate = log.documents.aggregate(envelope.aggregate)
    const schema = commandTypes.get(envelope.type)?.commands[envelope.type]
    const current = () => log.documents.read(aggregate.name, namespace, subject).state
    return {
      command: envelope,
      payload: schema?.parse(envelope.payload),
      id: subject,
      namespace,
      get state() {
        return current()
      },
      attempt,
      view: log.documents,
      effects,
      get enclosure() {
        return enclosures.of(envelope.correlationId)
      },
      logger,
      signal,
      decide: () => {
        const decision = aggregate.decide(current(), envelope, log.documents)
        if (isRefusal(decision)) throw PurserError.fromBody(decision.refused)
        return decision.map((event: { type: string; data: unknown }) => ({
          aggregate: aggregate.name,
          id: subject,
          ...event,
        }))
      },
      append: async (...facts) => {
        if (facts.length > 0) await record(facts)
      },
      appendIf: async (version, fact) => {
        const changes = log.changesOf([fact], namespace).map((change) => ({ ...change, expectedVersion: version }))
        return (await write(changes)) === 'written'
      },
      until: (holds, within) => untilState(log, holds, within),
      undoStack: () => {
        const stack = new AsyncDisposableStack()
        const defer = stack.defer.bind(stack)
        stack.defer = (undo) => defer(() => (interrupt.aborted ? undefined : undo()))
        return stack
      },
      step: (name, request, within) =>
        this.#step(envelope, name, request, submit, AbortSignal.any([within ?? signal, interrupt])),
    }
  }

  async #step(
    parent: CommandEnvelope,
    name: string,
    request: CommandRequest,
    submit: AttemptScope['submit'],
    signal: AbortSignal,
  ): Promise<Record<string, unknown>> {
    const { outcomes } = this.#options
    const { id, namespace } = await submit({
      namespace: parent.namespace,
      priority: parent.priority,
      ...(parent.traceparent === undefined ? {} : { traceparent: parent.traceparent }),
      ...request,
      idempotencyKey: `${parent.id}/${name}`,
    })
    try {
      return resultOf(await outcomes.wait(namespace, id, signal))
    } catch (error) {
      // Cancelled while it waited: so is the step. Interrupted by a stop, it goes on later.
      if (signal.aborted && !(signal.reason instanceof Interrupted)) {
        const cancelled = await submit({ type: 'command.cancel', subject: id, namespace })
        await outcomes.wait(namespace, cancelled.id, AbortSignal.timeout(1000))
        await outcomes.wait(namespace, id, AbortSignal.timeout(30_000)).catch(() => {})
      }
      throw error
    }
  }

  /** Ends a command that no attempt was made at. */
  async #end(state: ActiveCommand, error: PurserError): Promise<void> {
    const { log } = this.#options
    await log.record([failure(state.command, error, 0)], state.command.namespace, causeOf(state.command))
  }
}

/** What an attempt writes and asks for is of its span. */
function withSpan(state: ActiveCommand, { traceparent }: Span): ActiveCommand {
  return traceparent === undefined ? state : { ...state, command: { ...state.command, traceparent } }
}

/** Redis away or full, the fence or the node in other hands: another attempt is to be made. */
function isOfTheLog(error: unknown): boolean {
  const code = errorCodeOf(error)
  return code === 'unavailable' || code === 'resource_exhausted' || code === 'aborted'
}

async function untilState(log: EventLog, holds: () => boolean, signal: AbortSignal): Promise<void> {
  if (holds()) return
  signal.throwIfAborted()
  await new Promise<void>((resolve, reject) => {
    const settle = (done: () => void) => {
      listening[Symbol.dispose]()
      signal.removeEventListener('abort', onAbort)
      done()
    }
    const listening = log.listen(() => {
      if (holds()) settle(resolve)
    })
    const onAbort = () => settle(() => reject(signal.reason))
    signal.addEventListener('abort', onAbort, { once: true })
  })
}

function deadlineOf({ deadline }: CommandEnvelope): AbortSignal[] {
  if (deadline === undefined) return []
  const leftMs = Math.min(Math.max(0, Date.parse(deadline) - Date.now()), 2 ** 31 - 1)
  return [AbortSignal.timeout(leftMs)]
}

/** What a failed attempt is recorded with: the reason it was aborted for, before what that made go wrong. */
function endingError(thrown: unknown, signal: AbortSignal): PurserError {
  if (!signal.aborted) return toPurserError(thrown)
  if (signal.reason instanceof PurserError) return signal.reason
  return new PurserError('deadline_exceeded', 'the deadline passed before the command ended', { cause: thrown })
}

export function failure(envelope: CommandEnvelope, error: PurserError, durationMs: number): Fact {
  const type = error.code === 'cancelled' ? 'command.cancelled' : 'command.failed'
  return command.fact(envelope.id, type, { error: error.toBody(), durationMs: round(durationMs) })
}

const round = (ms: number): number => Math.round(ms * 1000) / 1000
