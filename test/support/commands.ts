import fc from 'fast-check'
import { z } from 'zod'
import { aggregates } from '../../src/commands/index.ts'
import { Documents } from '../../src/log/documents.ts'
import type { AnyAggregate, Refusal } from '../../src/model/aggregate.ts'
import type { StoredEvent } from '../../src/model/event.ts'
import type { EventSchema } from '../../src/model/event-schema.ts'
import { arbitraryOf, WORDS } from './arbitraries.ts'

const COMMANDS = ['01890000-0000-7000-8000-000000000001', '01890000-0000-7000-8000-000000000002'] as const
export const NOW = '2026-01-02T03:04:05.678Z'

/** What happened, for a test that only names what matters to it. */
export interface Happening {
  type: string
  data?: Record<string, unknown>
  id?: string
  namespace?: string
  commandid?: string
}

/** A state of any aggregate; a test says which fields it counts on. */
const folded = z.looseObject({
  status: z.string(),
  execs: z.record(z.string(), z.looseObject({ status: z.string() })).optional(),
})
type Folded = z.output<typeof folded>

/** Aggregates as they are after some events; data are checked by the schemas of their types. */
export class Past {
  readonly documents = new Documents(aggregates)

  constructor(...happenings: readonly Happening[]) {
    for (const each of happenings) this.happens(each)
  }

  happens({ type, data = {}, id = 'c1', namespace = 'default', commandid = COMMANDS[0] }: Happening): this {
    const aggregate = aggregateOf(type)
    const schema: EventSchema = aggregate.events[type]
    this.documents.apply({
      specversion: '1.0',
      id: '01890000-0000-7000-8000-000000000000',
      source: '/nodes/test',
      type,
      subject: `${aggregate.name}/${id}`,
      time: NOW,
      namespace,
      aggregate: aggregate.name,
      commandid,
      correlationid: commandid,
      actor: 'unix:uid=0,gid=0,pid=17',
      schema: schema.version,
      data: JSON.parse(JSON.stringify(schema.data.parse(data))),
      position: this.documents.head + 1,
    })
    return this
  }

  state(aggregate: string, id = 'c1', namespace = 'default'): Folded {
    return folded.parse(this.documents.read(aggregate, namespace, id).state)
  }

  /** What the aggregate makes of a command now: the types of events, or the code that it is refused with. */
  ask(type: string, payload: Record<string, unknown> = {}, id = 'c1', namespace = 'default') {
    const decision = this.decide(type, payload, id, namespace)
    return 'refused' in decision ? decision.refused.code : decision.map((event) => event.type)
  }

  decide(
    type: string,
    payload: Record<string, unknown> = {},
    id = 'c1',
    namespace = 'default',
  ): Refusal | { type: string; data: unknown }[] {
    const aggregate = aggregateOf(type)
    const command = {
      type,
      id: COMMANDS[1],
      namespace,
      subject: aggregate.id.parse(id),
      issuedAt: NOW,
      actor: 'unix:uid=0,gid=0,pid=17',
      payload: aggregate.commands[type].parse(payload),
    }
    return aggregate.decide(this.documents.read(aggregate.name, namespace, id).state, command, this.documents)
  }
}

export function aggregateOf(type: string): AnyAggregate {
  for (const each of aggregates.values()) if (type in each.events || type in each.commands) return each
  throw new Error(`${type} is of no aggregate`)
}

/** Any event of an aggregate, of few subjects and commands, so that they meet. */
export const eventOf = (aggregate: AnyAggregate): fc.Arbitrary<StoredEvent> =>
  fc.oneof(
    ...Object.entries<EventSchema>(aggregate.events).map(([type, schema]) =>
      fc
        .record({
          data: arbitraryOf(schema.data),
          id: fc.constantFrom(...idsOf(aggregate)),
          cause: fc.constantFrom(...COMMANDS),
        })
        .map(
          ({ data, id, cause }): StoredEvent => ({
            specversion: '1.0',
            id: '01890000-0000-7000-8000-000000000000',
            source: '/nodes/test',
            type,
            subject: `${aggregate.name}/${id}`,
            time: NOW,
            namespace: 'default',
            aggregate: aggregate.name,
            commandid: cause,
            correlationid: cause,
            actor: 'unix:uid=0,gid=0,pid=17',
            schema: schema.version,
            data: JSON.parse(JSON.stringify(schema.data.parse(data))),
            position: 0,
          }),
        ),
    ),
  )

/** Ids that the aggregate accepts. */
export const idsOf = (aggregate: AnyAggregate): string[] =>
  WORDS.filter((word) => aggregate.id.safeParse(word).success && aggregate.id.parse(word) === word).slice(0, 3)

/** A log of all aggregates, folded. */
export const pasts = (maxLength: number): fc.Arbitrary<Documents> =>
  fc.array(fc.oneof(...[...aggregates.values()].map(eventOf)), { maxLength }).map((events) => {
    const documents = new Documents(aggregates)
    for (const event of events) documents.apply({ ...event, position: documents.head + 1 })
    return documents
  })

/** Makes any change of a value throw. */
export function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  Object.freeze(value)
  for (const inner of Object.values(value)) freeze(inner)
  return value
}
