import { z } from 'zod'
import { eventsJsonSchema } from '../../commands/catalog.ts'
import { defineRoute, noQuery, type Resource } from './route.ts'

const schema = defineRoute({
  method: 'GET',
  path: '/v1/events/schema',
  summary: 'What events look like, by type: JSON Schema',
  scope: 'node',
  query: noQuery,
  answers: { 200: { description: 'JSON Schema 2020-12', schema: z.record(z.string(), z.unknown()) } },
  handle: async () => ({ status: 200, body: eventsJsonSchema() }),
})

export const eventSchemas: Resource = { name: 'events', routes: [schema] }
