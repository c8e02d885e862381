import { z } from 'zod'
import { identifier } from './ids.ts'
import { TRACEPARENT } from './traceparent.ts'

/** 1 is the most urgent, as in BullMQ; 0 there means "no priority", ahead of all. Default 100. */
export const priority = z.int().min(1).max(2_097_151)

/** What a client sends to have something done. */
export const commandRequest = z.strictObject({
  type: z.string().describe('imperative: container.run'),
  subject: z.string().max(4096).optional().describe('id of the aggregate; made up where the command allows it'),
  namespace: identifier.default('default'),
  priority: priority.default(100).describe('1 is the most urgent'),
  deadline: z.iso.datetime().optional().describe('RFC 3339, UTC: cancelled when it has not ended by then'),
  idempotencyKey: z.string().min(1).max(255).optional(),
  traceparent: z.string().regex(TRACEPARENT, 'a W3C traceparent').optional(),
  payload: z.record(z.string(), z.unknown()).default({}),
})

export type CommandRequest = z.input<typeof commandRequest>

/** A command as accepted: what `command.accepted` records. */
export const commandEnvelope = z.strictObject({
  id: z.uuid(),
  type: z.string(),
  namespace: z.string(),
  subject: z.string(),
  aggregate: z.string(),
  node: z.string(),
  actor: z.string(),
  surface: z.string().optional().describe('through which API it came: http; none for a step of another command'),
  priority,
  issuedAt: z.iso.datetime(),
  deadline: z.iso.datetime().optional(),
  idempotencyKey: z.string().optional(),
  traceparent: z.string().optional(),
  correlationId: z.uuid().describe('the outermost command of the chain'),
  parentId: z.uuid().optional().describe('the composite command that this one is a step of'),
  enclosed: z
    .literal('registry-auth')
    .optional()
    .describe('what came with the request and is written nowhere: credentials for a registry'),
  payload: z.record(z.string(), z.unknown()),
})

export type CommandEnvelope = z.output<typeof commandEnvelope>
