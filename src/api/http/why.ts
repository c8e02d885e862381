import { z } from 'zod'
import { PurserError } from '../../model/errors.ts'
import { whyOf } from '../../projections/why.ts'
import { historyOf, subjectMatcher } from './history.ts'
import { defineRoute, noQuery, type Resource } from './route.ts'

const HISTORY_MAX = 10_000

const reason = z.strictObject({
  position: z.int(),
  time: z.string(),
  text: z.string(),
  actor: z.string().optional(),
})

const why = defineRoute({
  method: 'GET',
  path: '/v1/why/{subject}',
  summary: 'Why something stopped, failed or went: from the event that decided it back to whoever asked',
  scope: 'namespace',
  query: noQuery,
  answers: {
    200: {
      description: 'the nearest cause first; empty when it goes on',
      schema: z.strictObject({ items: z.array(reason) }),
    },
  },
  async handle({ services: { log }, params: { subject }, namespace, signal }) {
    const history = await historyOf(log, namespace, subject, HISTORY_MAX, signal)
    if (history.length === 0)
      throw new PurserError('not_found', `the log tells nothing of ${subject} in namespace ${namespace}`, {
        remedy: 'purser events shows what it tells',
      })
    return { status: 200, body: { items: whyOf(history, subjectMatcher(subject)) } }
  },
})

export const reasons: Resource = { name: 'why', routes: [why] }
