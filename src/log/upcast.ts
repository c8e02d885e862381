import type { AnyAggregate } from '../model/aggregate.ts'
import type { StoredEvent } from '../model/event.ts'
import type { EventSchema, EventSchemas } from '../model/event-schema.ts'

type Aggregates = ReadonlyMap<string, AnyAggregate>

const schemaOf = (aggregates: Aggregates, { aggregate, type }: StoredEvent): EventSchema | undefined => {
  const events: EventSchemas | undefined = aggregates.get(aggregate)?.events
  return events !== undefined && Object.hasOwn(events, type) ? events[type] : undefined
}

/** False for an event that only a later release knows: it is kept and shown, and folds leave it out. */
export function isKnown(aggregates: Aggregates, event: StoredEvent): boolean {
  const known = schemaOf(aggregates, event)
  return known !== undefined && event.schema <= known.version
}

/** The event in the shape that this release knows; what is stored stays as it was written. */
export function upcast(aggregates: Aggregates, event: StoredEvent): StoredEvent {
  const known = schemaOf(aggregates, event)
  if (known === undefined || event.schema >= known.version) return event
  const data = known.upcasts.slice(event.schema - 1).reduce((data, step) => step(data), event.data)
  return { ...event, schema: known.version, data }
}
