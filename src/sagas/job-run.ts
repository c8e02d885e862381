import { command, isActive } from '../commands/command.ts'
import { type JobFailure, job } from '../commands/job.ts'
import type { Fact } from '../model/aggregate.ts'
import { PurserError, toPurserError } from '../model/errors.ts'
import { defineSaga } from './define.ts'
import { cleanUp, isInterrupted, type JobSaga, runSteps } from './jobs/attempt.ts'

/** One attempt at a job, from its place to the job's end or back into the line. */
export const runJob = defineSaga(job, 'job.run', async (saga) => {
  const { id } = saga
  const begun = await begin(saga)
  if (begun === 'not-ours') return { facts: [], result: { id } }
  using stop = new Stop(saga)
  let failure: JobFailure | undefined
  try {
    if (begun === 'lost') throw lost(id)
    failure = await runSteps(saga, stop.signal)
  } catch (thrown) {
    if (isInterrupted(saga, thrown)) throw thrown
    failure = { error: (stop.reason ?? toPurserError(thrown)).toBody() }
  }
  await cleanUp(saga)
  return { facts: [outcome(saga, failure, stop)], result: { id } }
})

/** Whether this command makes the attempt; `lost` when one did that ended without a word. */
async function begin(saga: JobSaga): Promise<'ours' | 'not-ours' | 'lost'> {
  const { id, namespace, view, payload } = saga
  for (;;) {
    const { state } = saga
    if (state.status === 'running') {
      const by = state.attempts.at(-1)?.command ?? ''
      if (by === saga.command.id) return 'ours'
      return isActive(view.get(command, namespace, by)) ? 'not-ours' : 'lost'
    }
    if (state.status !== 'queued' || state.attempts.length + 1 !== payload.attempt) return 'not-ours'
    // At this version: a job that is cancelled meanwhile does not begin.
    if (await saga.appendIf(view.version(job, namespace, id), job.fact(id, 'job.started', payload))) return 'ours'
  }
}

/** Aborts when the job is cancelled, or the attempt has taken too long. */
class Stop implements Disposable {
  readonly signal: AbortSignal
  readonly #saga: JobSaga
  readonly #stop = new AbortController()
  readonly #over = new AbortController()
  readonly #timer: NodeJS.Timeout | undefined

  constructor(saga: JobSaga) {
    this.#saga = saga
    this.signal = AbortSignal.any([saga.signal, this.#stop.signal])
    const cancelled = () => saga.state.status !== 'running' || saga.state.cancel !== undefined
    saga.until(cancelled, AbortSignal.any([saga.signal, this.#over.signal])).then(
      () => this.#stop.abort(new PurserError('cancelled', this.cancelReason ?? 'cancelled')),
      () => {}, // It is over.
    )
    const { state } = saga
    if (state.status !== 'running' || state.spec.timeoutMs === undefined) return
    const { timeoutMs } = state.spec
    const startedAt = Date.parse(state.attempts.at(-1)?.startedAt ?? saga.command.issuedAt)
    const late = new PurserError('deadline_exceeded', `the attempt took longer than ${timeoutMs / 1000} s`, {
      remedy: 'see which step took how long: purser job show; or set another timeout',
    })
    this.#timer = setTimeout(() => this.#stop.abort(late), Math.max(0, startedAt + timeoutMs - Date.now()))
  }

  [Symbol.dispose](): void {
    this.#over.abort()
    clearTimeout(this.#timer)
  }

  /** Why the attempt was ended from outside. */
  get reason(): PurserError | undefined {
    const { aborted, reason } = this.signal
    return aborted && reason instanceof PurserError ? reason : undefined
  }

  /** Why the job is cancelled, when it is: it was asked for, or this command was cancelled itself. */
  get cancelReason(): string | undefined {
    const { state, signal } = this.#saga
    if (state.status === 'running' && state.cancel !== undefined) return state.cancel
    return signal.aborted && signal.reason instanceof PurserError ? signal.reason.message : undefined
  }
}

function outcome(saga: JobSaga, failure: JobFailure | undefined, stop: Stop): Fact {
  const { id, state, payload } = saga
  if (failure === undefined) return job.fact(id, 'job.succeeded', {})
  const reason = stop.cancelReason
  if (reason !== undefined) return job.fact(id, 'job.cancelled', { reason: reason.slice(0, 256) })
  const retries = state.status === 'running' ? state.spec.retries : 0
  if (payload.attempt <= retries) return job.fact(id, 'job.attempt-failed', { ...payload, failure })
  return job.fact(id, 'job.failed', { failure })
}

const lost = (id: string): PurserError =>
  new PurserError('aborted', `the command that made the attempt at job ${id} ended without a word`, {
    remedy: `purser history ${id}`,
  })
