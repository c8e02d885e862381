import type { Logger } from 'pino'
import type { z } from 'zod'
import type { Aggregate, Fact, View } from '../model/aggregate.ts'
import type { CommandEnvelope, CommandRequest } from '../model/command.ts'
import type { EventSchemas } from '../model/event-schema.ts'
import type { Secret } from '../model/secret.ts'

/** What a handler ends with: the facts that its effect made true, written together with the command's outcome. */
export interface Outcome {
  facts: readonly Fact[]
  /** Told to whoever waits for the command. */
  result?: Record<string, unknown>
}

/** One attempt at one command. Everything written through it is fenced: an attempt that was overtaken writes nothing. */
export interface Job<S = unknown, P = unknown, Effects = unknown> {
  readonly command: CommandEnvelope
  readonly payload: P
  /** Id of the aggregate instance. */
  readonly id: string
  readonly namespace: string
  /** The aggregate as it is now. */
  readonly state: S
  /** 1 for the first attempt; a later one looks at the host before it does anything again. */
  readonly attempt: number
  /** All aggregates as they are now. */
  readonly view: View
  readonly effects: Effects
  /** What came with the outermost command and is written nowhere; gone after a restart. */
  readonly enclosure: Secret | undefined
  readonly logger: Logger
  /** Aborts when the command is cancelled, its deadline passes, its lock is lost or the daemon stops. */
  readonly signal: AbortSignal
  /** What the aggregate decides now. @throws PurserError when it refuses */
  decide(): Fact[]
  /** Writes intents or intermediate facts. */
  append(...facts: Fact[]): Promise<void>
  /** Writes a fact if its aggregate still has this version. @returns whether it had */
  appendIf(version: number, fact: Fact): Promise<boolean>
  /** Waits until the aggregates are in some state. @throws the signal's reason when it aborts first */
  until(holds: () => boolean, signal: AbortSignal): Promise<void>
  /** Undoes on leaving the scope, unless moved or the lock is lost: the next attempt decides then. */
  undoStack(): AsyncDisposableStack
  /**
   * Has another command carried out as a step of this one and waits for its result; asked again after a restart, it
   * waits for the same command. @throws PurserError what the step failed with
   */
  step(name: string, request: CommandRequest, signal?: AbortSignal): Promise<Record<string, unknown>>
}

export interface Handler<Effects> {
  type: string
  handle(job: Job<unknown, unknown, Effects>): Promise<Outcome>
}

type Schemas = Record<string, z.ZodType>

/**
 * Ties handlers to commands of aggregates, so that a job's state and payload have their types.
 *
 * @returns `define(aggregate, type, handle)`, for handlers that use these effects
 */
export function handlersFor<Effects>() {
  return <S, C extends Schemas, E extends EventSchemas, T extends keyof C & string>(
    _aggregate: Aggregate<S, C, E>,
    type: T,
    handle: (job: Job<S, z.output<C[T]>, Effects>) => Promise<Outcome>,
  ): Handler<Effects> =>
    // The harness gives a handler only commands of its type, parsed by that type's schema.
    ({ type, handle: handle as (job: Job<unknown, unknown, Effects>) => Promise<Outcome> })
}
