import type { z } from 'zod'
import type { ErrorBody, ErrorCode } from './errors.ts'
import type { EventSchemas } from './event-schema.ts'

type Schemas = Record<string, z.ZodType>

/** A command as `decide` sees it: ids and times come with it, so that deciding stays pure. */
export type CommandOf<C extends Schemas> = {
  [T in keyof C & string]: {
    type: T
    id: string
    namespace: string
    subject: string
    issuedAt: string
    actor: string
    payload: z.output<C[T]>
  }
}[keyof C & string]

/** What a caller may hand in for a schema, before defaults are filled in. */
export type InputOf<S extends z.ZodType> = z.input<S>

export type EventOf<E extends EventSchemas> = {
  [T in keyof E & string]: { type: T; data: z.output<E[T]['data']> }
}[keyof E & string]

/** What `evolve` may use of an event's envelope besides its data. */
export type Recorded<E> = E & { time: string; commandid: string; correlationid: string }

export interface Refusal {
  refused: ErrorBody
}

/** The name of an aggregate with the type of its state; every aggregate is one. */
export interface Kind<S> {
  readonly name: string
  readonly initial: S
}

/** Other aggregates' current states, for decisions that span several. */
export interface View {
  get<S>(of: Kind<S>, namespace: string, id: string): S
  /** The position of its last event; 0 when it is absent. */
  version<S>(of: Kind<S>, namespace: string, id: string): number
  /** Ids and states of all that are not absent. */
  list<S>(of: Kind<S>, namespace?: string): Iterable<Entry<S>>
}

export interface Entry<S> {
  namespace: string
  id: string
  version: number
  state: S
}

export interface AggregateDefinition<S, C extends Schemas, E extends EventSchemas> {
  /** Also the first part of its types: `task` has `task.create` and `task.created`. */
  name: string
  /** A second first part, of commands that are named after what they make: a snapshot has `diff.create`. */
  alsoNamed?: string
  /** The grammar of its ids. */
  id: z.ZodType<string>
  /** The state of one that does not exist; an aggregate in this state is not stored. */
  initial: S
  commands: C
  /** Events that a command may cause, its refusal and outcome aside; of a composite one also the commands it is made of. */
  leadsTo: Readonly<Record<keyof C & string, readonly string[]>>
  events: E
  decide(state: S, command: CommandOf<C>, view: View): EventOf<E>[] | Refusal
  evolve(state: S, event: Recorded<EventOf<E>>): S
}

/** An event to be appended, before the log gives it an envelope. */
export interface Fact {
  aggregate: string
  id: string
  type: string
  data: unknown
  /** Only for what belongs to another namespace than the command. */
  namespace?: string
}

export interface Aggregate<S, C extends Schemas, E extends EventSchemas> extends AggregateDefinition<S, C, E> {
  fact<T extends keyof E & string>(id: string, type: T, data: z.input<E[T]['data']>, namespace?: string): Fact
  /** False for the initial state. */
  exists(state: S): boolean
}

/** An aggregate of which only the name is known at compile time. */
// biome-ignore lint/suspicious/noExplicitAny: the one place where states of different aggregates meet
export type AnyAggregate = Aggregate<any, any, any>

export function defineAggregate<S, const C extends Schemas, const E extends EventSchemas>(
  definition: AggregateDefinition<S, C, E>,
): Aggregate<S, C, E> {
  const names = [definition.name, definition.alsoNamed ?? definition.name]
  for (const type of [...Object.keys(definition.commands), ...Object.keys(definition.events)]) {
    if (!names.some((name) => type.startsWith(`${name}.`))) {
      throw new Error(`${type} does not belong to ${definition.name}`)
    }
  }
  return {
    ...definition,
    fact: (id, type, data, namespace) => ({
      aggregate: definition.name,
      id,
      type,
      data,
      ...(namespace === undefined ? {} : { namespace }),
    }),
    exists: (state) => state !== definition.initial,
  }
}

/** A decision against a command: a value, because it is an expected outcome. */
export function refuse(code: ErrorCode, message: string, remedy?: string): Refusal {
  return { refused: { code, message, ...(remedy === undefined ? {} : { remedy }) } }
}

export const isRefusal = (decision: unknown): decision is Refusal =>
  typeof decision === 'object' && decision !== null && 'refused' in decision
