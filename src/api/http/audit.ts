import { z } from 'zod'
import { defineRoute, type Resource } from './route.ts'
import { positionOfMoment } from './since.ts'

const text = z.string().min(1).max(1200).optional()

const auditQuery = z.strictObject({
  subject: text.describe('AGGREGATE/ID, or a glob: */c1'),
  action: text.describe('command type, or the type of an event that happened by itself; or a glob: task.*'),
  actor: text,
  uid: z.coerce.number().int().nonnegative().optional(),
  pid: z.coerce.number().int().positive().optional(),
  executable: text,
  surface: text,
  outcome: text.describe('accepted, running, succeeded, failed, cancelled, refused, read or happened'),
  code: text.describe('error code'),
  command: text.describe('id of the command'),
  correlation: text.describe('id of the outermost command'),
  text: text.describe('words of subjects and error messages; one may end in *'),
  since: text.describe('a position, an RFC 3339 time or a duration (15m)'),
  until: text.describe('a position, an RFC 3339 time or a duration (15m)'),
  slowerThanMs: z.coerce.number().nonnegative().optional().describe('milliseconds that a command took, at least'),
  order: z.enum(['newest', 'oldest']).default('newest'),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  cursor: z.string().max(20).optional(),
})

const row = z.strictObject({
  position: z.int(),
  time: z.string(),
  namespace: z.string(),
  actor: z.string(),
  uid: z.int().optional(),
  pid: z.int().optional(),
  executable: z.string().optional(),
  surface: z.string().optional(),
  action: z.string(),
  subject: z.string(),
  command: z.string().optional(),
  parent: z.string().optional(),
  correlation: z.string().optional(),
  outcome: z.string(),
  code: z.string().optional(),
  message: z.string().optional(),
  ended: z.string().optional(),
  durationMs: z.number().optional(),
})

const auditTrail = defineRoute({
  method: 'GET',
  path: '/v1/audit',
  summary: 'Who did what, to what, when and with which outcome; of all namespaces unless one is named',
  scope: 'namespace',
  query: auditQuery,
  answers: {
    200: {
      description:
        'a page; it may have fewer rows than `limit`, or none, and go on all the same: until there is no `next`',
      schema: z.strictObject({ items: z.array(row), next: z.string().optional() }),
    },
  },
  async handle({ services: { log, projections }, query, namespaceAsked, signal }) {
    const { since, until, ...filter } = query
    // What was answered before this request is in the answer to it.
    await projections.audit.reaches(log.head, signal)
    const page = projections.audit.store.page({
      ...filter,
      namespace: namespaceAsked,
      after: since === undefined ? undefined : await positionOfMoment(log, since, 'since'),
      through: until === undefined ? undefined : await positionOfMoment(log, until, 'until'),
    })
    return { status: 200, body: page }
  },
})

export const auditing: Resource = { name: 'audit', routes: [auditTrail] }
