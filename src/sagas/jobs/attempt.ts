import type { z } from 'zod'
import { container } from '../../commands/container.ts'
import {
  type BegunStepState,
  isBegun,
  JOB_LABEL,
  JOB_STEP_LABEL,
  type JobFailure,
  type JobState,
  type JobStepState,
  job,
  type StepEnd,
  stepContainer,
  stepTitle,
} from '../../commands/job.ts'
import type { JobSpec, JobStep } from '../../commands/job-spec.ts'
import { type StoppedTask, task } from '../../commands/task.ts'
import { type ErrorCode, PurserError, toPurserError } from '../../model/errors.ts'
import { type Saga, UNDO_MS } from '../define.ts'
import { pullImage } from '../unpacked-image.ts'

export type JobSaga = Saga<JobState, z.output<(typeof job.commands)['job.run']>>

/** Whether what was thrown says that another attempt at the command will be made, so that nothing is to be ended. */
export const isInterrupted = ({ signal }: JobSaga, thrown: unknown): boolean =>
  (signal.aborted && !(signal.reason instanceof PurserError)) ||
  (thrown instanceof Error && thrown.name === 'Interrupted')

/**
 * The steps of an attempt in their order, after the first that fails and counts only those that ask for it; then the artifacts.
 * Made again after a restart, it goes on with the step that it was at.
 *
 * @param within aborts when the job is to end
 * @returns why the attempt has failed, if it has
 * @throws the signal's reason
 */
export async function runSteps(saga: JobSaga, within: AbortSignal): Promise<JobFailure | undefined> {
  const { id, payload } = saga
  const { spec } = running(saga)
  const { workspace } = await saga.step('prepare', { type: 'job.prepare', subject: id, payload }, within)
  let failure: JobFailure | undefined
  for (const [index, step] of spec.steps.entries()) {
    within.throwIfAborted()
    if (!isWanted(step, failure)) {
      if (stateOf(saga, index) === undefined)
        await saga.append(job.fact(id, 'job.step-skipped', { ...payload, step: index }))
      continue
    }
    if ((stateOf(saga, index)?.status ?? 'running') === 'running') await runStep(saga, index, String(workspace), within)
    await tidyStep(saga, index)
    within.throwIfAborted()
    const ended = stateOf(saga, index)
    if (ended?.status === 'failed' && !step.continueOnError) failure ??= failureOf(id, index, step, ended)
  }
  return spec.artifacts.length === 0 ? failure : await collect(saga, failure, within)
}

const isWanted = ({ when = 'success' }: JobStep, failure: JobFailure | undefined): boolean =>
  when === 'always' || (when === 'failure') === (failure !== undefined)

/** Runs a step's container to its end, and records that. */
async function runStep(saga: JobSaga, index: number, workspace: string, within: AbortSignal): Promise<void> {
  const { id, namespace, view, payload } = saga
  const { spec } = running(saga)
  const step = spec.steps[index]
  if (step === undefined) return
  const subject = stepContainer(id, payload.attempt, index)
  const at = { ...payload, step: index }
  if (stateOf(saga, index) === undefined)
    await saga.append(job.fact(id, 'job.step-started', { ...at, container: subject }))
  const name = stepName(index)
  const exit = () => {
    const state = view.get(task, namespace, subject)
    return state.status === 'stopped' ? state : undefined
  }
  let error: PurserError | undefined
  try {
    const image = { image: step.image, snapshotter: spec.snapshotter, platform: spec.platform, pull: spec.pull }
    if (await pullImage(saga, name('pull'), image, within)) {
      const pulledMs = since(begunOf(saga, index)?.startedAt, Date.now())
      await saga.append(job.fact(id, 'job.step-pulled', { ...at, pulledMs }))
    }
    const request = containerOf(saga, spec, step, index, workspace)
    await saga.step(name('run'), { type: 'container.run', subject, payload: request }, within)
    const isOver = () => exit() !== undefined || view.get(container, namespace, subject).status === 'absent'
    await saga.until(isOver, within)
  } catch (thrown) {
    if (isInterrupted(saga, thrown)) throw thrown
    error = within.aborted && within.reason instanceof PurserError ? within.reason : toPurserError(thrown)
    await stopStep(saga, index, spec.graceMs)
  }
  await saga.append(job.fact(id, 'job.step-ended', { ...at, ...endOf(begunOf(saga, index), exit(), error) }))
}

/** Ends the process of a step that is not waited for any longer. */
async function stopStep(saga: JobSaga, index: number, graceMs: number): Promise<void> {
  const { id, namespace, view, payload } = saga
  const subject = stepContainer(id, payload.attempt, index)
  const { status } = view.get(task, namespace, subject)
  if (status !== 'created' && status !== 'running' && status !== 'paused') return
  const request = { type: 'container.stop', subject, payload: { graceMs } }
  await saga.step(stepName(index)('stop'), request, AbortSignal.timeout(graceMs + UNDO_MS)).catch((err: unknown) => {
    if (isInterrupted(saga, err)) throw err
    saga.logger.warn({ err, container: subject }, 'a step of a job could not be stopped: its removal kills it')
  })
}

/** Its log is kept, and its container removed. */
async function tidyStep(saga: JobSaga, index: number): Promise<void> {
  const { id, namespace, view, payload } = saga
  const subject = stepContainer(id, payload.attempt, index)
  const state = view.get(container, namespace, subject)
  if (state.status === 'absent' || state.origin !== saga.command.correlationId) return
  const name = stepName(index)
  const keep = { type: 'job.keep-log', subject: id, payload: { ...payload, step: index } }
  await saga.step(name('keep-log'), keep, AbortSignal.timeout(UNDO_MS)).catch((err: unknown) => {
    if (isInterrupted(saga, err)) throw err
    saga.logger.warn({ err, container: subject }, 'the log of a step could not be kept')
  })
  const remove = { type: 'container.remove', subject, payload: { running: 'kill' } }
  await saga.step(name('remove'), remove, AbortSignal.timeout(UNDO_MS)).catch((err: unknown) => {
    if (isInterrupted(saga, err)) throw err
    if (view.get(container, namespace, subject).status !== 'absent') throw err // Else somebody else has removed it.
  })
}

async function collect(
  saga: JobSaga,
  failure: JobFailure | undefined,
  within: AbortSignal,
): Promise<JobFailure | undefined> {
  const { id, payload } = saga
  const { spec } = running(saga)
  try {
    await saga.step('collect', { type: 'job.collect', subject: id, payload }, within)
  } catch (thrown) {
    if (within.aborted || isInterrupted(saga, thrown)) throw thrown
    return failure ?? { error: toPurserError(thrown).toBody() }
  }
  const missing = running(saga).attempts.at(-1)?.collected?.missing ?? []
  const needed = spec.artifacts.find(({ path, optional }) => !optional && missing.includes(path))
  if (failure !== undefined || needed === undefined) return failure
  const error = new PurserError('not_found', `the workspace of job ${id} has no ${needed.path}, which is an artifact`, {
    remedy: 'have a step make it, or say optional: true',
  })
  return { error: error.toBody() }
}

/** Whatever an attempt has left, however it ended. */
export async function cleanUp(saga: JobSaga): Promise<void> {
  const { id, payload } = saga
  const { spec, attempts } = running(saga)
  try {
    for (const [index, state] of (attempts.at(-1)?.steps ?? []).entries()) {
      if (state.status === 'running') {
        await stopStep(saga, index, spec.graceMs)
        const error = new PurserError('aborted', 'its attempt ended before it')
        const end = endOf(state, undefined, error)
        await saga.append(job.fact(id, 'job.step-ended', { ...payload, step: index, ...end }))
      }
      await tidyStep(saga, index)
    }
    await saga.step('clean', { type: 'job.clean', subject: id, payload }, AbortSignal.timeout(UNDO_MS))
  } catch (err) {
    if (isInterrupted(saga, err)) throw err
    saga.logger.warn({ err }, 'an attempt at a job left something behind: the removal of the job removes it')
  }
}

const stepName = (index: number) => (what: string) => `${what}-${index + 1}`

/** What is told of a step that has begun. */
function begunOf(saga: JobSaga, index: number): BegunStepState | undefined {
  const state = stateOf(saga, index)
  return isBegun(state) ? state : undefined
}

const stateOf = (saga: JobSaga, index: number): JobStepState | undefined => running(saga).attempts.at(-1)?.steps[index]

/** Nothing but this command ends the attempt. */
function running({ state, id }: JobSaga): Extract<JobState, { status: 'running' }> {
  if (state.status === 'running') return state
  throw new PurserError('internal', `job ${id} is ${state.status} while it runs`)
}

/** The payload of `container.run`. */
function containerOf(saga: JobSaga, spec: JobSpec, step: JobStep, index: number, workspace: string) {
  const { id, payload } = saga
  const { entrypoint, args, workingDir = spec.workspace, user, resources, timeoutMs } = step
  const told = {
    CI: 'true',
    PURSER_JOB: id,
    PURSER_JOB_ATTEMPT: String(payload.attempt),
    PURSER_JOB_STEP: String(index + 1),
    PURSER_WORKSPACE: spec.workspace,
  }
  return {
    image: step.image,
    pull: spec.pull === 'never' ? 'never' : 'missing',
    snapshotter: spec.snapshotter,
    ...(spec.platform === undefined ? {} : { platform: spec.platform }),
    ...(spec.runtime === undefined ? {} : { runtime: spec.runtime }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    labels: { ...spec.labels, [JOB_LABEL]: id, [JOB_STEP_LABEL]: String(index + 1) },
    options: {
      ...spec.options,
      ...(entrypoint === undefined ? {} : { entrypoint }),
      ...(args === undefined ? {} : { args }),
      env: [...Object.entries(told).map(([name, value]) => `${name}=${value}`), ...step.env],
      workingDir,
      ...(user === undefined ? {} : { user }),
      mounts: [{ type: 'bind', source: workspace, target: spec.workspace, options: [] }, ...spec.mounts],
      ...(spec.network === undefined ? {} : { network: spec.network }),
      resources,
    },
  }
}

function endOf(
  step: BegunStepState | undefined,
  exit: StoppedTask | undefined,
  error: PurserError | undefined,
): StepEnd {
  const createdFrom = step?.pulledAt ?? step?.startedAt
  const startedMs = exit?.startedAt === undefined ? undefined : Date.parse(exit.startedAt)
  const isGood = error === undefined && exit !== undefined && exit.exitCode === 0 && exit.reason === undefined
  const gone = exit === undefined && error === undefined
  const told = gone ? new PurserError('not_found', 'its container was removed while it ran') : error
  return {
    outcome: isGood ? 'succeeded' : error?.code === 'cancelled' ? 'cancelled' : 'failed',
    ...(exit === undefined ? {} : { exitCode: exit.exitCode, exitedAt: exit.exitedAt }),
    ...(exit?.startedAt === undefined ? {} : { startedAt: exit.startedAt }),
    ...(exit?.reason === undefined ? {} : { reason: exit.reason }),
    ...(told === undefined ? {} : { error: told.toBody() }),
    timings: {
      ...(step?.pulledMs === undefined ? {} : { pulledMs: step.pulledMs }),
      ...(startedMs === undefined ? {} : { createdMs: since(createdFrom, startedMs) }),
      ...(exit === undefined || startedMs === undefined
        ? {}
        : { ranMs: since(exit.startedAt, Date.parse(exit.exitedAt)) }),
    },
  }
}

const since = (time: string | undefined, ms: number): number =>
  time === undefined ? 0 : Math.max(0, Math.round(ms - Date.parse(time)))

/** What a step failed with, by the reason of its exit where that was not its own. */
function codeOf(reason: string | undefined): ErrorCode {
  if (reason === 'timeout') return 'deadline_exceeded'
  if (reason === 'oom') return 'resource_exhausted'
  return reason?.startsWith('lost') ? 'aborted' : 'failed_precondition'
}

function failureOf(
  id: string,
  index: number,
  { name }: JobStep,
  { exitCode, reason, error }: Pick<StepEnd, 'exitCode' | 'reason' | 'error'>,
): JobFailure {
  const what = stepTitle(index, name)
  const why = reason === undefined ? `exited with ${exitCode}` : `ended: ${reason}`
  const remedy = error?.remedy ?? `purser job logs ${id}`
  const code = error?.code ?? codeOf(reason)
  return {
    step: index,
    ...(exitCode === undefined ? {} : { exitCode }),
    error: { code, message: `${what} ${error === undefined ? why : `failed: ${error.message}`}`, remedy },
  }
}
