import { z } from 'zod'
import { defineAggregate, type Kind, refuse } from '../model/aggregate.ts'
import { digestSchema } from '../model/digest.ts'
import { event } from '../model/event-schema.ts'
import { identifier } from '../model/ids.ts'
import { errorBody } from './command.ts'
import { artifactPath, type JobSpec, jobSpec } from './job-spec.ts'

/** Labels that the containers of a job have. */
export const JOB_LABEL = 'purser.io/job'
export const JOB_STEP_LABEL = 'purser.io/job-step'

/** So that the id of a step's container is an identifier too. */
const ID_CHARACTERS_MAX = 64
export const ARTIFACT_FILES_MAX = 1000

const attemptNumber = z.int().positive().describe('1 for the first')
const stepIndex = z.int().nonnegative().describe('0 for the first')
const ms = z.int().nonnegative()
const instant = z.iso.datetime().describe('RFC 3339, UTC')
const reason = z.string().max(256)

/** How long each phase of a step took, in milliseconds; a phase that there was none of is left out. */
const timings = z.strictObject({
  pulledMs: ms.optional().describe('its image was pulled, and unpacked on the way'),
  createdMs: ms.optional().describe('its container was made and started, with an image unpacked that was not'),
  ranMs: ms.optional().describe('its process ran'),
})

const stepEnd = z.strictObject({
  outcome: z.enum(['succeeded', 'failed', 'cancelled']),
  exitCode: z.int().min(0).max(255).optional().describe('of its process, where there was one'),
  startedAt: instant.optional().describe('of its process'),
  exitedAt: instant.optional(),
  reason: z.string().optional().describe("why, when it was not the process's own exit: oom, timeout, lost …"),
  error: errorBody.optional().describe('what kept it from running'),
  timings,
})
export type StepEnd = z.output<typeof stepEnd>

const failure = z.strictObject({
  step: stepIndex.optional().describe('that failed'),
  exitCode: z.int().min(0).max(255).optional(),
  error: errorBody,
})
export type JobFailure = z.output<typeof failure>

const artifact = z.strictObject({
  path: artifactPath.describe('below the workspace'),
  sizeBytes: z.int().nonnegative(),
  digest: digestSchema,
})
export type JobArtifact = z.output<typeof artifact>

const collected = z.strictObject({
  artifacts: z.array(artifact).max(ARTIFACT_FILES_MAX),
  skipped: z.int().nonnegative().describe('what is neither file nor directory, and links that lead to neither'),
  missing: z.array(artifactPath).describe('what the job names and the workspace does not have'),
})

export type BegunStepState = { container: string; startedAt: string; pulledAt?: string; pulledMs?: number } & (
  | { status: 'running' }
  | ({ status: 'succeeded' | 'failed' | 'cancelled'; endedAt: string } & Omit<StepEnd, 'outcome'>)
)

export type JobStepState = BegunStepState | { status: 'skipped' }

export const isBegun = (step: JobStepState | undefined): step is BegunStepState =>
  step !== undefined && step.status !== 'skipped'

export interface JobAttempt {
  /** The command that makes it. */
  command: string
  startedAt: string
  steps: JobStepState[]
  collected?: z.output<typeof collected>
  endedAt?: string
  /** Why it failed, when it did and another one follows. */
  failure?: JobFailure
}

interface Submitted {
  spec: JobSpec
  submittedAt: string
  submittedBy: string
  /** The command that submitted it: ids of commands are in the order of time. */
  submission: string
  attempts: JobAttempt[]
}

export type JobState =
  | { status: 'absent' }
  | ({ status: 'queued' } & Submitted)
  | ({ status: 'running'; cancel?: string } & Submitted)
  | ({ status: 'succeeded'; endedAt: string } & Submitted)
  | ({ status: 'failed'; endedAt: string; failure: JobFailure } & Submitted)
  | ({ status: 'cancelled'; endedAt: string; reason: string } & Submitted)
  | ({ status: 'removing' } & Submitted)

export type PresentJob = Exclude<JobState, { status: 'absent' }>
export type EndedJob = Extract<JobState, { endedAt: string }>

const absent = { status: 'absent' } as JobState
export const jobs: Kind<JobState> = { name: 'job', initial: absent }

export const isActiveJob = ({ status }: JobState): boolean => status === 'queued' || status === 'running'
export const isEndedJob = (state: JobState): state is EndedJob =>
  state.status === 'succeeded' || state.status === 'failed' || state.status === 'cancelled'

/** What a step is called in sentences. */
export const stepTitle = (index: number, name: string): string =>
  name === `step ${index + 1}` ? name : `step ${index + 1} (${name})`

/** The container of a step. */
export const stepContainer = (job: string, attempt: number, step: number): string => `${job}-${attempt}-${step + 1}`

const ofAttempt = z.strictObject({ attempt: attemptNumber })
const ofStep = z.strictObject({ attempt: attemptNumber, step: stepIndex })

/** Steps that run to their ends, one after the other, in a workspace that they share: queued, running, ended. */
export const job = defineAggregate({
  name: 'job',
  id: identifier.refine(
    (id) => id.length <= ID_CHARACTERS_MAX,
    `the id of a job has ${ID_CHARACTERS_MAX} characters at most`,
  ),
  initial: absent,
  commands: {
    'job.submit': jobSpec.describe('have a job run as soon as there is a place for it'),
    'job.cancel': z
      .strictObject({ reason: reason.default('cancelled by its submitter') })
      .describe('take a job out of the queue, or end it'),
    'job.remove': z.strictObject({}).describe('forget an ended job, its log and its artifacts'),
    // The node asks for these itself.
    'job.run': ofAttempt.describe('make an attempt at a queued job'),
    'job.prepare': ofAttempt.describe('make the workspace of an attempt'),
    'job.keep-log': ofStep.describe('keep the log of a step beyond its container'),
    'job.collect': ofAttempt.describe('keep the artifacts of an attempt beyond its workspace'),
    'job.clean': ofAttempt.describe('remove the workspace of an attempt'),
  },
  leadsTo: {
    'job.submit': ['job.submitted'],
    'job.cancel': ['job.cancelled', 'job.cancel-requested'],
    'job.remove': ['job.removing', 'job.removed'],
    'job.run': [
      'job.started',
      'job.prepare',
      'job.step-skipped',
      'job.step-started',
      'image.pull',
      'job.step-pulled',
      'container.run',
      'container.stop',
      'job.keep-log',
      'container.remove',
      'job.step-ended',
      'job.collect',
      'job.clean',
      'job.succeeded',
      'job.attempt-failed',
      'job.failed',
      'job.cancelled',
    ],
    'job.prepare': ['job.prepared'],
    'job.keep-log': ['job.log-kept'],
    'job.collect': ['job.artifacts-collected'],
    'job.clean': ['job.cleaned'],
  },
  events: {
    'job.submitted': event(
      5,
      'a job waits for its turn',
      z.strictObject({ spec: jobSpec, submittedBy: z.string().describe('the actor') }),
      (data) => data, // Version 2 may have a deadline, and more options of containers.
      (data) => data, // Version 3 may have more names in networks.
      (data) => data, // Version 4 may bound the workspace, and say when steps run.
      (data) => data, // Version 5 may leave ports to be chosen, and have an IPv6 address.
    ),
    'job.started': event(1, 'an attempt at it has begun', ofAttempt),
    'job.prepared': event(1, 'the workspace of an attempt is there', ofAttempt),
    'job.step-started': event(1, 'a step has begun', ofStep.extend({ container: z.string() })),
    'job.step-skipped': event(1, 'a step is not run, as it asks for after what came before it', ofStep),
    'job.step-pulled': event(1, 'the image of a step was pulled', ofStep.extend({ pulledMs: ms })),
    'job.log-kept': event(1, 'the log of a step is kept', ofStep.extend({ sizeBytes: z.int().nonnegative() })),
    'job.step-ended': event(1, 'a step has ended', ofStep.extend(stepEnd.shape)),
    'job.artifacts-collected': event(1, 'the artifacts of an attempt are kept', ofAttempt.extend(collected.shape)),
    'job.cleaned': event(1, 'the workspace of an attempt is gone', ofAttempt),
    'job.attempt-failed': event(
      1,
      'an attempt has failed, and the job waits for another one',
      ofAttempt.extend({ failure }),
    ),
    'job.cancel-requested': event(1, 'the running job is to end', z.strictObject({ reason })),
    'job.succeeded': event(1, 'its outcome: all steps that count have succeeded', z.strictObject({})),
    'job.failed': event(1, 'its outcome: failed, in every attempt that it has', z.strictObject({ failure })),
    'job.cancelled': event(1, 'its outcome: cancelled before it was done', z.strictObject({ reason })),
    'job.removing': event(1, 'its log and its artifacts are about to go', z.strictObject({})),
    'job.removed': event(1, 'the job is forgotten', z.strictObject({})),
  },
  decide(state, { type, namespace, subject, actor, payload }) {
    if (type === 'job.submit') {
      if (state.status === 'absent') return [{ type: 'job.submitted', data: { spec: payload, submittedBy: actor } }]
      return refuse(
        'already_exists',
        `job ${subject} exists in namespace ${namespace}`,
        'choose another id, or none; an idempotency key makes a repeated request the same one',
      )
    }
    if (state.status === 'absent')
      return refuse('not_found', `job ${subject} is not in namespace ${namespace}`, 'purser job ls')
    const need = (...statuses: JobState['status'][]) =>
      statuses.includes(state.status)
        ? undefined
        : refuse(
            'failed_precondition',
            `job ${subject} is ${state.status}, not ${statuses.join(' or ')}`,
            `purser job show ${subject}`,
          )
    switch (type) {
      case 'job.cancel':
        if (state.status === 'queued') return [{ type: 'job.cancelled', data: payload }]
        if (state.status !== 'running')
          return refuse('failed_precondition', `job ${subject} has ended already`, 'there is nothing to cancel')
        return state.cancel === undefined ? [{ type: 'job.cancel-requested', data: payload }] : []
      case 'job.remove':
        if (isActiveJob(state))
          return refuse(
            'failed_precondition',
            `job ${subject} is ${state.status}`,
            `purser job cancel ${subject} first`,
          )
        return state.status === 'removing' ? [] : [{ type: 'job.removing', data: {} }]
      case 'job.run':
        return need('queued', 'running') ?? []
      case 'job.prepare':
      case 'job.keep-log':
      case 'job.collect':
      case 'job.clean': {
        if (state.status !== 'running' || state.attempts.length === payload.attempt) return need('running') ?? []
        return refuse(
          'failed_precondition',
          `job ${subject} makes attempt ${state.attempts.length}, not ${payload.attempt}`,
          'leave it to the node',
        )
      }
    }
  },
  evolve(state, event): JobState {
    if (event.type === 'job.submitted') {
      const { spec, submittedBy } = event.data
      const at = { submittedAt: event.time, submittedBy, submission: event.commandid }
      return { status: 'queued', spec, ...at, attempts: [] }
    }
    if (state.status === 'absent') return state
    if (event.type === 'job.removed') return absent
    if (event.type === 'job.removing') return { status: 'removing', ...submitted(state) }
    if (event.type === 'job.cancelled' && isActiveJob(state)) {
      const ended = {
        ...submitted(state),
        attempts: changeLast(state.attempts, (ended) => ({ ...ended, endedAt: event.time })),
      }
      return { status: 'cancelled', endedAt: event.time, reason: event.data.reason, ...ended }
    }
    if (event.type === 'job.started' && state.status === 'queued') {
      const attempt: JobAttempt = { command: event.commandid, startedAt: event.time, steps: [] }
      return { status: 'running', ...submitted(state), attempts: [...state.attempts, attempt] }
    }
    if (state.status !== 'running') return state
    const change = (by: (attempt: JobAttempt) => JobAttempt): JobAttempt[] => changeLast(state.attempts, by)
    switch (event.type) {
      case 'job.cancel-requested':
        return { ...state, cancel: event.data.reason }
      case 'job.succeeded':
        return { status: 'succeeded', endedAt: event.time, ...submitted(state), attempts: change(endAt(event.time)) }
      case 'job.failed': {
        const { failure } = event.data
        const attempts = change((last) => ({ ...endAt(event.time)(last), failure }))
        return { status: 'failed', endedAt: event.time, failure, ...submitted(state), attempts }
      }
      case 'job.attempt-failed': {
        const { failure } = event.data
        const attempts = change((last) => ({ ...endAt(event.time)(last), failure }))
        if (state.cancel === undefined) return { status: 'queued', ...submitted(state), attempts }
        return { status: 'cancelled', endedAt: event.time, reason: state.cancel, ...submitted(state), attempts }
      }
      case 'job.step-started': {
        const { step, container } = event.data
        const started: JobStepState = { status: 'running', container, startedAt: event.time }
        return { ...state, attempts: change((last) => withStep(last, step, started)) }
      }
      case 'job.step-skipped':
        return { ...state, attempts: change((last) => withStep(last, event.data.step, { status: 'skipped' })) }
      case 'job.step-pulled': {
        const { step, pulledMs } = event.data
        return {
          ...state,
          attempts: change((last) => changeStep(last, step, (one) => ({ ...one, pulledAt: event.time, pulledMs }))),
        }
      }
      case 'job.step-ended': {
        const { attempt: _, step, outcome, ...end } = event.data
        return {
          ...state,
          attempts: change((last) =>
            changeStep(last, step, (one) => ({ ...one, ...end, status: outcome, endedAt: event.time })),
          ),
        }
      }
      case 'job.artifacts-collected': {
        const { attempt: _, ...collected } = event.data
        return { ...state, attempts: change((last) => ({ ...last, collected })) }
      }
      default:
        return state
    }
  },
})

const submitted = ({ spec, submittedAt, submittedBy, submission, attempts }: PresentJob): Submitted => ({
  spec,
  submittedAt,
  submittedBy,
  submission,
  attempts,
})

const endAt =
  (time: string) =>
  (attempt: JobAttempt): JobAttempt => ({ ...attempt, endedAt: time })

/** The attempt that is made now, changed. */
function changeLast(attempts: readonly JobAttempt[], by: (attempt: JobAttempt) => JobAttempt): JobAttempt[] {
  const last = attempts.at(-1)
  return last === undefined || last.endedAt !== undefined ? [...attempts] : [...attempts.slice(0, -1), by(last)]
}

/** Steps come in their order, each once. */
const withStep = (attempt: JobAttempt, step: number, state: JobStepState): JobAttempt =>
  attempt.steps.length === step ? { ...attempt, steps: [...attempt.steps, state] } : attempt

function changeStep(attempt: JobAttempt, step: number, by: (step: BegunStepState) => JobStepState): JobAttempt {
  return {
    ...attempt,
    steps: attempt.steps.map((each, index) => (index === step && each.status === 'running' ? by(each) : each)),
  }
}
