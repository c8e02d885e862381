import { z } from 'zod'
import { eventEnvelope } from '../model/event.ts'
import type { EventSchema } from '../model/event-schema.ts'
import { aggregates } from './index.ts'

type Json = Record<string, unknown>

export interface CatalogEvent {
  type: string
  aggregate: string
  version: number
  meaning: string
  data: z.ZodType
}

export interface CatalogCommand {
  type: string
  aggregate: string
  meaning: string
  /** Types of events, and of the commands that a composite one is made of. */
  leadsTo: readonly string[]
}

/** Every type of event, by aggregate in the order in which things happen. */
export const eventCatalog = (): CatalogEvent[] =>
  [...aggregates.values()].flatMap((aggregate) =>
    Object.entries<EventSchema>(aggregate.events).map(([type, { version, meaning, data }]) => ({
      type,
      aggregate: aggregate.name,
      version,
      meaning,
      data,
    })),
  )

/** Every command, sorted by type. */
export const commandCatalog = (): CatalogCommand[] =>
  [...aggregates.values()]
    .flatMap((aggregate) =>
      Object.entries<z.ZodType>(aggregate.commands).map(([type, schema]) => ({
        type,
        aggregate: aggregate.name,
        meaning: schema.description ?? '',
        leadsTo: aggregate.leadsTo[type] ?? [],
      })),
    )
    .sort((a, b) => (a.type < b.type ? -1 : 1))

/** What an event of this release looks like, whatever its type: JSON Schema 2020-12. */
export function eventsJsonSchema(): Json {
  const events = eventCatalog()
  const envelope = jsonSchemaOf(eventEnvelope.extend({ position: z.int().positive().describe('its place in the log') }))
  const { properties, required } = envelope as { properties: Json; required: string[] }
  const definitions = events.map(({ type, aggregate, version, meaning, data }) => [
    type,
    {
      type: 'object',
      description: meaning,
      properties: {
        ...properties,
        type: { const: type },
        aggregate: { const: aggregate },
        schema: { const: version },
        data: jsonSchemaOf(data),
      },
      required,
    },
  ])
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Events of Purser',
    description: 'Readers leave out types and versions that they do not know: later releases have more.',
    oneOf: events.map(({ type }) => ({ $ref: `#/$defs/${type}` })),
    $defs: Object.fromEntries(definitions),
  }
}

function jsonSchemaOf(schema: z.ZodType): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: 'output', unrepresentable: 'any' })
  return rest
}
