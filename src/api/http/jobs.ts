import { z } from 'zod'
import { isActiveJob, isEndedJob, type JobState, job, jobs, type PresentJob } from '../../commands/job.ts'
import { jobRequest } from '../../commands/job-request.ts'
import type { Entry } from '../../model/aggregate.ts'
import { mapLimited } from '../../model/concurrency.ts'
import { errorCodeOf, PurserError } from '../../model/errors.ts'
import { labelMatches } from '../../model/labels.ts'
import { parse } from '../../model/parse.ts'
import { jobView } from '../../projections/views.ts'
import type { Accepted } from '../../queue/intake.ts'
import { findCommand } from './find-command.ts'
import { keyOfCursor, pageOf, paging } from './pages.ts'
import { type Preferences, parsePrefer, preferenceApplied } from './prefer.ts'
import { type Call, defineRoute, flag, many, noQuery, type Resource } from './route.ts'
import * as schemas from './schemas.ts'

const preferHeader = {
  Prefer: 'wait=N: answer when the job has ended, or after N seconds (600 at most); RFC 7240',
}

function entryOf({ services: { log }, namespace }: Call, id: string): Entry<PresentJob> | undefined {
  const { version, state } = log.documents.read(job.name, namespace, id)
  return version === 0 ? undefined : { namespace, id, version, state: state as PresentJob }
}

/** @throws PurserError not_found */
function found(call: Call, id: string): Entry<PresentJob> {
  const entry = entryOf(call, parse(job.id, id, 'id'))
  if (entry) return entry
  throw new PurserError('not_found', `job ${id} is not in namespace ${call.namespace}`, { remedy: 'purser job ls' })
}

/** The job when it has ended, or as it is when the client's patience is at its end. */
async function ended(call: Call, id: string, { waitSeconds }: Preferences): Promise<Entry<PresentJob>> {
  if (waitSeconds === undefined) return found(call, id)
  const { namespace, services, signal } = call
  const patience = AbortSignal.timeout(waitSeconds * 1000)
  const isOver = () => !isActiveJob(services.log.documents.get(jobs, namespace, id))
  const instance = { aggregate: job.name, namespace, id }
  await services.changes.until(instance, isOver, AbortSignal.any([signal, patience])).catch((error: unknown) => {
    if (!patience.aborted) throw error
  })
  return found(call, id)
}

/** The job of a submission, also of one that is made again. @throws PurserError what it was refused with */
async function submitted(call: Call, { id, subject, duplicate }: Accepted): Promise<Entry<PresentJob>> {
  const entry = entryOf(call, subject)
  if (duplicate && entry?.state.submission === id) return entry // Its command may be forgotten by now.
  const { state } = await findCommand(call.services.log, id, call.namespace, call.signal)
  if ('error' in state) throw PurserError.fromBody(state.error)
  if (entry?.state.submission === id) return entry
  throw new PurserError('not_found', `job ${subject}, which was submitted with this key, was removed`, {
    remedy: 'use a new key for a new job',
  })
}

/** Has a command on a job carried out, and returns when it is. @throws PurserError what it failed with */
async function execute(call: Call, type: string, subject: string, payload: Record<string, unknown> = {}) {
  const outcome = await call.services.intake.execute(
    { type, subject, namespace: call.namespace, payload, ...optional('traceparent', call.traceparent) },
    { actor: call.actor, surface: 'http' },
    call.signal,
  )
  if (outcome.status !== 'succeeded') throw PurserError.fromBody(outcome.error)
}

const submit = defineRoute({
  method: 'POST',
  path: '/v1/jobs',
  summary: 'Has a job run as soon as there is a place for it; it is durable when this answers',
  scope: 'namespace',
  query: z.strictObject({ id: job.id.optional().describe('of the job; made up without it') }),
  body: jobRequest,
  headers: {
    ...preferHeader,
    'Idempotency-Key': 'a repeated key answers with the job of then; 255 characters at most',
    traceparent: 'W3C trace context',
  },
  answers: {
    200: { description: 'it has ended within the time the client waits, however', schema: schemas.jobSchema },
    202: { description: 'it waits, or runs', schema: schemas.jobSchema },
  },
  async handle(call) {
    const preferences = parsePrefer(call.header('prefer'))
    const accepted = await call.services.intake.submit(
      {
        type: 'job.submit',
        namespace: call.namespace,
        payload: call.body,
        ...optional('subject', call.query.id),
        ...optional('idempotencyKey', call.header('idempotency-key')),
        ...optional('traceparent', call.traceparent),
      },
      { actor: call.actor, surface: 'http' },
    )
    const { id } = await submitted(call, accepted)
    const entry = await ended(call, id, preferences)
    const headers = { location: `/v1/jobs/${id}`, ...preferenceApplied(preferences) }
    const isOver = preferences.waitSeconds !== undefined && isEndedJob(entry.state)
    return { status: isOver ? 200 : 202, body: jobView(entry), headers }
  },
})

/** Which jobs are meant. */
const selection = {
  label: many(z.string().min(1).max(4096)).describe('k, k=v or k!=v; all must hold'),
  group: z.string().max(256).optional().describe('concurrency group'),
}

const list = defineRoute({
  method: 'GET',
  path: '/v1/jobs',
  summary: 'Jobs, newest first',
  scope: 'namespace',
  query: z.strictObject({
    ...paging,
    status: many(z.enum(['queued', 'running', 'succeeded', 'failed', 'cancelled'])).describe('any of them'),
    ...selection,
  }),
  answers: { 200: { description: 'a page', schema: schemas.pageOf(schemas.jobSchema) } },
  async handle(call) {
    const { query, services, namespace } = call
    const before = query.cursor === undefined ? undefined : keyOfCursor(query.cursor)
    const ids = new Map<string, string>()
    for (const { id, state } of services.log.documents.list(jobs, namespace)) {
      if (state.status === 'absent' || !matches(state, query)) continue
      // Ids of commands are in the order of time; a second job of one submission there is none.
      if (before === undefined || state.submission < before) ids.set(state.submission, id)
    }
    const keys = [...ids.keys()].sort((a, b) => (a < b ? 1 : -1))
    const page = pageOf(keys, query.limit, (key) => {
      const entry = entryOf(call, ids.get(key) ?? '')
      return entry && jobView(entry)
    })
    return { status: 200, body: page }
  },
})

function matches(
  { status, spec }: Exclude<JobState, { status: 'absent' }>,
  query: { status: readonly string[]; label: readonly string[]; group?: string | undefined },
): boolean {
  if (query.status.length > 0 && !query.status.includes(status)) return false
  if (query.group !== undefined && spec.concurrency?.group !== query.group) return false
  return query.label.every((selector) => labelMatches(spec.labels, selector))
}

const get = defineRoute({
  method: 'GET',
  path: '/v1/jobs/{id}',
  summary: 'A job: its attempts, their steps, how long each phase took, its artifacts',
  scope: 'namespace',
  query: noQuery,
  headers: preferHeader,
  answers: { 200: { description: 'the job', schema: schemas.jobSchema } },
  async handle(call) {
    const { waitSeconds } = parsePrefer(call.header('prefer'))
    const given = waitSeconds === undefined ? {} : { waitSeconds }
    const { id } = found(call, call.params.id)
    return { status: 200, body: jobView(await ended(call, id, given)), headers: preferenceApplied(given) }
  },
})

const cancelBody = z.strictObject({ reason: job.commands['job.cancel'].shape.reason.optional() })
/** Appends that are committed together. */
const CANCELS_AT_ONCE = 32

const cancel = defineRoute({
  method: 'POST',
  path: '/v1/jobs/{id}/cancel',
  summary: 'Takes a job out of the queue, or ends it; answers when that is durable; the body may be {}',
  scope: 'namespace',
  query: noQuery,
  body: cancelBody,
  answers: { 202: { description: 'the job, which ends or has ended', schema: schemas.jobSchema } },
  async handle(call) {
    const { id } = found(call, call.params.id)
    await execute(call, 'job.cancel', id, optional('reason', call.body.reason))
    return { status: 202, body: jobView(found(call, id)), headers: { location: `/v1/jobs/${id}` } }
  },
})

const cancelMany = defineRoute({
  method: 'POST',
  path: '/v1/jobs/cancel',
  summary: 'Takes jobs out of the queue, or ends them; answers when that is durable; asked again, it goes on',
  scope: 'namespace',
  query: z.strictObject({ status: many(z.enum(['queued', 'running'])).describe('any of them'), ...selection }),
  body: cancelBody,
  answers: {
    200: {
      description: 'the jobs that end or have ended by this, those that wait first',
      schema: z.strictObject({ items: z.array(z.string()) }),
    },
  },
  async handle(call) {
    const { status, label, group } = call.query
    if (status.length + label.length === 0 && group === undefined) {
      throw new PurserError('invalid_argument', 'nothing says which jobs are meant', {
        field: 'status',
        remedy: 'give status, label or group',
      })
    }
    const meant = [...call.services.log.documents.list(jobs, call.namespace)].filter(
      ({ state }) => isActiveJob(state) && state.status !== 'absent' && matches(state, call.query),
    )
    // Those that wait must not take the places of those that run.
    const inOrder = meant.toSorted(
      (a, b) => Number(a.state.status === 'running') - Number(b.state.status === 'running'),
    )
    const cancelled = await mapLimited(inOrder, CANCELS_AT_ONCE, call.signal, async ({ id }) => {
      try {
        await execute(call, 'job.cancel', id, optional('reason', call.body.reason))
        return [id]
      } catch (error) {
        if (errorCodeOf(error) === 'failed_precondition') return [] // It has just ended.
        throw error
      }
    })
    return { status: 200, body: { items: cancelled.flat() } }
  },
})

const remove = defineRoute({
  method: 'DELETE',
  path: '/v1/jobs/{id}',
  summary: 'Forgets an ended job, its log and its artifacts',
  scope: 'namespace',
  query: noQuery,
  answers: { 204: { description: 'it is gone' } },
  async handle(call) {
    await execute(call, 'job.remove', found(call, call.params.id).id)
    return { status: 204, body: undefined }
  },
})

const logs = defineRoute({
  method: 'GET',
  path: '/v1/jobs/{id}/steps/{step}/logs',
  summary: 'What a step (1, 2 …) wrote, as lines in CRI log format: TIME STREAM F|P TEXT',
  scope: 'namespace',
  query: z.strictObject({
    attempt: z.coerce.number().int().min(1).optional().describe('1 for the first; the last one without it'),
    follow: flag.describe('whether to go on until the step has ended'),
  }),
  streams: 'always',
  answers: { 200: { description: 'the lines', mediaTypes: ['text/plain'] } },
  async handle(call) {
    const { id, state } = found(call, call.params.id)
    const step = Number(call.params.step)
    if (!Number.isInteger(step) || step < 1 || step > state.spec.steps.length) {
      throw new PurserError(
        'not_found',
        `job ${id} has ${state.spec.steps.length} steps, and no step ${call.params.step}`,
        {
          remedy: `purser job show ${id}`,
        },
      )
    }
    const { attempt = Math.max(1, state.attempts.length), follow } = call.query
    const options = { attempt, step: step - 1, follow }
    const stream = call.stream('text/plain; charset=utf-8')
    for await (const chunk of call.services.jobs.logs(call.namespace, id, options, call.signal))
      await stream.write(chunk)
    stream.end()
    return 'streamed'
  },
})

const artifact = defineRoute({
  method: 'GET',
  path: '/v1/jobs/{id}/artifacts/{path}',
  summary: 'An artifact: the path below the workspace, percent-encoded with its slashes',
  scope: 'namespace',
  query: noQuery,
  streams: 'always',
  answers: { 200: { description: 'its bytes', mediaTypes: ['application/octet-stream'] } },
  async handle(call) {
    const { id } = found(call, call.params.id)
    const { bytes } = await call.services.jobs.artifact(call.namespace, id, call.params.path, call.signal)
    const stream = call.stream('application/octet-stream')
    for await (const chunk of bytes) await stream.write(chunk)
    stream.end()
    return 'streamed'
  },
})

const optional = <K extends string, V>(key: K, value: V | undefined) =>
  (value === undefined ? {} : { [key]: value }) as Partial<Record<K, V>>

export const ciJobs: Resource = {
  name: 'jobs',
  routes: [submit, list, get, cancel, cancelMany, remove, logs, artifact],
}
