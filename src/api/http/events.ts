import { z } from 'zod'
import { positionAt } from '../../log/position.ts'
import { PurserError } from '../../model/errors.ts'
import type { StoredEvent } from '../../model/event.ts'
import { anyGlob } from './glob.ts'
import { historyOf } from './history.ts'
import { type Call, defineRoute, flag, many, type Resource } from './route.ts'
import { eventSchema } from './schemas.ts'
import { momentOf } from './since.ts'
import { EVENT_STREAM, heartbeats, sseEvent } from './sse.ts'

const NDJSON = 'application/x-ndjson'

const eventsQuery = z.strictObject({
  since: z
    .string()
    .max(100)
    .optional()
    .describe('events after it: a position, an RFC 3339 time or a duration (15m); with follow, now by default'),
  follow: flag.describe('whether to wait for events to come'),
  type: many(z.string().max(256)).describe('a glob: task.*'),
  subject: many(z.string().max(1200)).describe('a glob: task/c1, */c1'),
})

const events = defineRoute({
  method: 'GET',
  path: '/v1/events',
  summary: 'Events in the order of the log, of all namespaces unless one is named; resumes after Last-Event-ID',
  scope: 'namespace',
  query: eventsQuery,
  headers: {
    'Last-Event-ID': 'the position that was seen last; wins over since',
    Accept: `${EVENT_STREAM}, or ${NDJSON} for one event a line`,
  },
  streams: 'always',
  answers: { 200: { description: 'the events', mediaTypes: [EVENT_STREAM, NDJSON] } },
  async handle(call) {
    const { query, signal, namespaceAsked } = call
    const { log } = call.services
    const after = await startOf(call)
    const ofType = anyGlob(query.type)
    const ofSubject = anyGlob(query.subject)
    const asLines = call.header('accept')?.includes(NDJSON) ?? false
    const stream = call.stream(asLines ? NDJSON : EVENT_STREAM)
    using _ = asLines ? undefined : heartbeats(stream)
    // An id without an event: a client that loses the connection before its first event can resume too.
    if (!asLines) await stream.writeText(`id: ${after}\n\n`)
    for await (const event of query.follow ? log.subscribe(after, signal) : log.read(after, log.head)) {
      if (namespaceAsked !== undefined && event.namespace !== namespaceAsked) continue
      if (!ofType(event.type) || !ofSubject(event.subject)) continue
      await stream.writeText(asLines ? `${JSON.stringify(event)}\n` : sse(event))
    }
    stream.end()
    return 'streamed'
  },
})

const sse = (event: StoredEvent): string => sseEvent({ id: event.position, event: event.type, data: event })

/** The position after which the client wants events. */
async function startOf(call: Call<unknown, z.output<typeof eventsQuery>>): Promise<number> {
  const { log } = call.services
  const { since, follow } = call.query
  const last = call.header('last-event-id')
  const from = last === undefined || last === '' ? since : last
  if (from === undefined) return follow ? log.head : 0
  if (!/^\d{1,15}$/.test(from)) {
    if (from === last) {
      throw new PurserError('invalid_argument', `Last-Event-ID: ${JSON.stringify(from.slice(0, 100))} is no position`, {
        field: 'Last-Event-ID',
        remedy: 'send the id of an event, or since= with a time',
      })
    }
    return await positionAt(log, momentOf(from, Date.now()))
  }
  const position = Number(from)
  if (position <= log.head) return position
  throw new PurserError('out_of_range', `position ${position} is beyond the head of the log, ${log.head}`, {
    remedy: 'this is another log than the one that position is of: begin anew, with since=0 or a time',
  })
}

const history = defineRoute({
  method: 'GET',
  path: '/v1/history/{subject}',
  summary: 'All about a subject (c1, task/c1, an image), with the commands that led to it',
  scope: 'namespace',
  query: z.strictObject({
    limit: z.coerce.number().int().min(1).max(10_000).default(1000).describe('of more events, the newest'),
  }),
  answers: {
    200: {
      description: 'events, oldest first',
      schema: z.strictObject({ items: z.array(eventSchema) }),
    },
  },
  async handle({ services: { log }, params: { subject }, query: { limit }, namespace, signal }) {
    return { status: 200, body: { items: await historyOf(log, namespace, subject, limit, signal) } }
  },
})

export const eventStreams: Resource = { name: 'events', routes: [events, history] }
