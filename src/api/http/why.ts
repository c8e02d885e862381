import { z } from 'zod'
import { jobs } from '../../commands/job.ts'
import { PurserError } from '../../model/errors.ts'
import { type Reason, whyOf } from '../../projections/why.ts'
import { standingOfJob } from '../../projections/why-job.ts'
import type { Services } from '../services.ts'
import { historyOf, subjectMatcher } from './history.ts'
import { defineRoute, noQuery, type Resource } from './route.ts'

const HISTORY_MAX = 10_000

const reason = z.strictObject({
  position: z.int(),
  time: z.string(),
  text: z.string(),
  actor: z.string().optional(),
})

/** Of a job that has not ended, how it stands now. */
function standing({ log, jobTurns }: Services, namespace: string, subject: string): Reason[] {
  const id = subject.startsWith('job/') ? subject.slice('job/'.length) : subject
  const state = log.documents.get(jobs, namespace, id)
  if (state.status === 'absent') return []
  const text = standingOfJob(id, state, jobTurns.turnOf(namespace, id))
  const position = log.documents.version(jobs, namespace, id)
  return text === undefined ? [] : [{ position, time: new Date().toISOString(), text }]
}

const why = defineRoute({
  method: 'GET',
  path: '/v1/why/{subject}',
  summary: 'Why something stopped, failed, went or waits: from the event that decided it back to whoever asked',
  scope: 'namespace',
  query: noQuery,
  answers: {
    200: {
      description: 'the nearest cause first; empty when it goes on; of a job that has not ended, first how it stands',
      schema: z.strictObject({ items: z.array(reason) }),
    },
  },
  async handle({ services, params: { subject }, namespace, signal }) {
    const history = await historyOf(services.log, namespace, subject, HISTORY_MAX, signal)
    if (history.length === 0)
      throw new PurserError('not_found', `the log tells nothing of ${subject} in namespace ${namespace}`, {
        remedy: 'purser events shows what it tells',
      })
    return {
      status: 200,
      body: { items: [...standing(services, namespace, subject), ...whyOf(history, subjectMatcher(subject))] },
    }
  },
})

export const reasons: Resource = { name: 'why', routes: [why] }
