import { z } from 'zod'
import type { EventLog } from '../../log/event-log.ts'
import { positionAt } from '../../log/position.ts'
import { PurserError, toPurserError } from '../../model/errors.ts'
import type { StoredEvent } from '../../model/event.ts'
import { anyGlob } from '../../model/glob.ts'
import { parseTraceparent } from '../../model/traceparent.ts'

import { historyOf } from './history.ts'
import { problemOf } from './problem.ts'
import { type Call, defineRoute, flag, many, type Resource } from './route.ts'
import { eventSchema } from './schemas.ts'
import { momentOf, positionOfMoment } from './since.ts'
import { EVENT_STREAM, heartbeats, sseEvent } from './sse.ts'

const NDJSON = 'application/x-ndjson'

const eventsQuery = z.strictObject({
  since: z
    .string()
    .max(100)
    .optional()
    .describe('events after it: a position, an RFC 3339 time or a duration (15m); with follow, now by default'),
  until: z
    .string()
    .max(100)
    .optional()
    .describe('events up to it: a position, an RFC 3339 time or a duration (15m); not with follow'),
  follow: flag.describe('whether to wait for events to come'),
  type: many(z.string().max(256)).describe('a glob: task.*'),
  subject: many(z.string().max(1200)).describe('a glob: task/c1, */c1'),
  actor: many(z.string().max(1200)).describe('a glob: unix:uid=1000,*'),
  command: many(z.uuid()).describe('id of the command that caused it'),
  correlation: many(z.uuid()).describe('id of the outermost command of the chain'),
  trace: many(z.string().regex(/^[0-9a-f]{32}$/, 'a trace id is 32 lower-case hex digits')).describe(
    'trace id, as an exemplar of a metric has it',
  ),
})
type EventsQuery = z.output<typeof eventsQuery>

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
    const through = await endOf(call)
    const isWanted = filterOf(query, namespaceAsked)
    const asLines = call.header('accept')?.includes(NDJSON) ?? false
    const stream = call.stream(asLines ? NDJSON : EVENT_STREAM)
    let position = after
    using _ = asLines ? undefined : heartbeats(stream, () => position)
    try {
      // An id without an event: a client that loses the connection before its first event can resume too.
      if (!asLines) await stream.writeText(`id: ${after}\n\n`)
      for await (const event of query.follow ? log.subscribe(after, signal) : log.read(after, through)) {
        position = event.position
        if (isWanted(event)) await stream.writeText(asLines ? `${JSON.stringify(event)}\n` : sse(event), 'limited')
      }
      stream.end()
    } catch (error) {
      if (signal.aborted) throw error
      // Who resumes there has missed nothing but what retention dropped, which the error says.
      const resumeAfter = Math.max(position, (log.sealed?.first ?? 1) - 1)
      const problem = problemOf(toPurserError(error).toBody(), { position: resumeAfter })
      await stream.endWith(
        asLines
          ? `${JSON.stringify({ error: problem })}\n`
          : sseEvent({ id: resumeAfter, event: 'error', data: problem }),
      )
    }
    return 'streamed'
  },
})

const sse = (event: StoredEvent): string => sseEvent({ id: event.position, event: event.type, data: event })

/** Whether the client wants an event. */
function filterOf(query: EventsQuery, namespace: string | undefined): (event: StoredEvent) => boolean {
  const ofType = anyGlob(query.type)
  const ofSubject = anyGlob(query.subject)
  const byActor = anyGlob(query.actor)
  const { command, correlation, trace } = query
  return (event) =>
    (namespace === undefined || event.namespace === namespace) &&
    ofType(event.type) &&
    ofSubject(event.subject) &&
    byActor(event.actor) &&
    (command.length === 0 || command.includes(event.commandid)) &&
    (correlation.length === 0 || correlation.includes(event.correlationid)) &&
    (trace.length === 0 || trace.includes(parseTraceparent(event.traceparent)?.traceId ?? ''))
}

/** The position after which the client wants events. */
async function startOf(call: Call<unknown, EventsQuery>): Promise<number> {
  const { log } = call.services
  const { since, follow } = call.query
  const dropped = (log.sealed?.first ?? 1) - 1
  const last = call.header('last-event-id')
  if (last === undefined || last === '') {
    if (since === undefined) return follow ? log.head : dropped
    // What retention has dropped is nothing to resume after.
    return Math.max(
      /^\d{1,15}$/.test(since) ? reached(log, since) : await positionAt(log, momentOf(since, Date.now())),
      dropped,
    )
  }
  if (!/^\d{1,15}$/.test(last)) {
    throw new PurserError('invalid_argument', `Last-Event-ID: ${JSON.stringify(last.slice(0, 100))} is no position`, {
      field: 'Last-Event-ID',
      remedy: 'send the id of an event, or since= with a time',
    })
  }
  const position = reached(log, last)
  if (position >= dropped) return position
  throw new PurserError(
    'out_of_range',
    `the events up to ${dropped} have been dropped, you have those up to ${position}`,
    {
      field: 'Last-Event-ID',
      remedy: `begin anew with since=${dropped}, without Last-Event-ID`,
    },
  )
}

/** @throws PurserError out_of_range when the log has no such position yet */
function reached(log: EventLog, text: string): number {
  const position = Number(text)
  if (position <= log.head) return position
  throw new PurserError('out_of_range', `position ${position} is beyond the head of the log, ${log.head}`, {
    remedy: 'this is another log than the one that position is of: begin anew, with since=0 or a time',
  })
}

/** The position up to which the client wants events. */
async function endOf({ services: { log }, query: { until, follow } }: Call<unknown, EventsQuery>): Promise<number> {
  if (until === undefined) return log.head
  if (!follow) return await positionOfMoment(log, until, 'until')
  throw new PurserError('invalid_argument', 'until: what is followed has no end', {
    field: 'until',
    remedy: 'leave out one of until and follow',
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
