import { z } from 'zod'

/**
 * An event as the log holds it: CloudEvents 1.0 attributes, flat and lower-case as that spec wants them, plus ours.
 * The log adds `position`: 1, 2, 3 … without gaps, the order of everything on the node.
 *
 * @see CloudEvents 1.0.2, "Context Attributes", "Naming Conventions"
 */
export const eventEnvelope = z.strictObject({
  specversion: z.literal('1.0'),
  id: z.uuid().describe('UUIDv7 of the event'),
  source: z.string().describe('/nodes/NAME'),
  type: z.string().describe('past tense for facts, -ing for intents: task.exited, task.creating'),
  subject: z.string().describe('AGGREGATE/ID: task/c1'),
  time: z.iso.datetime().describe('when it was appended, RFC 3339, UTC'),
  namespace: z.string(),
  aggregate: z.string(),
  commandid: z.string().describe('the command that caused it; empty for what the host did by itself'),
  correlationid: z.string().describe('the outermost command of the chain'),
  actor: z.string().describe('who asked: unix:uid=0,gid=0,pid=17; purser:NAME for the daemon itself'),
  traceparent: z.string().optional(),
  schema: z.int().positive().describe('version of the shape of data'),
  data: z.record(z.string(), z.unknown()),
})

export type EventEnvelope = z.output<typeof eventEnvelope>
export type StoredEvent = EventEnvelope & { position: number }

/** Who caused an event: the part of its envelope that a command hands on to all it leads to. */
export interface Cause {
  commandId: string
  correlationId: string
  actor: string
  traceparent?: string | undefined
}

/** The cause of what happens on the host by itself: an exit, a reconciliation. */
export const spontaneous = (name: string): Cause => ({ commandId: '', correlationId: '', actor: `purser:${name}` })
