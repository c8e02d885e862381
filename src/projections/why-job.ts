import { isBegun, type JobFailure, type PresentJob, type StepEnd, stepTitle } from '../commands/job.ts'
import type { JobSpec } from '../commands/job-spec.ts'
import type { StoredEvent } from '../model/event.ts'
import type { JobTurn } from '../model/job-turn.ts'

/** What ends an attempt at a job. */
export const JOB_ENDS: ReadonlySet<string> = new Set([
  'job.attempt-failed',
  'job.cancelled',
  'job.failed',
  'job.succeeded',
])

interface Told {
  event: StoredEvent
  text: string
}

/** What a job does that has not ended, and what it waits for. @param turn of one that waits */
export function standingOfJob(id: string, { status, spec, attempts }: PresentJob, turn?: JobTurn): string | undefined {
  if (status === 'running') {
    const at = (attempts.at(-1)?.steps ?? []).findIndex((step) => isBegun(step) && step.status === 'running')
    const where = at < 0 ? '' : `, at ${stepTitle(at, spec.steps[at]?.name ?? '')}`
    return `job/${id} runs: attempt ${attempts.length}${where}`
  }
  if (status !== 'queued') return undefined
  const waits = attempts.length === 0 ? `job/${id} waits` : `job/${id} waits for attempt ${attempts.length + 1}`
  if (turn === undefined) return waits
  const { running, places, runningOfNamespace, ahead, othersWaiting, fullGroup } = turn
  const next = (line: string) => (ahead === 0 ? `it is the next of ${line}` : `${ahead} of ${line} go before it`)
  if (fullGroup) {
    const { name, max } = fullGroup
    return `${waits}: ${fullGroup.running} of ${max} of its concurrency group ${name} run; ${next('that group')}`
  }
  const others = othersWaiting === 0 ? '' : `; other namespaces that wait too: ${othersWaiting}`
  return `${waits}: ${running} of ${places} places are taken, ${runningOfNamespace} of them by its namespace; ${next('its namespace')}${others}`
}

/** Why a job ended as it did: its outcome, what its steps came to, and the attempts before; the last first. */
export function endsOfJob(history: readonly StoredEvent[], subject: string): Told[] {
  const ofJob = history.filter((event) => event.subject === subject)
  const submitted = ofJob.findLastIndex(({ type }) => type === 'job.submitted')
  const spec = (ofJob[submitted]?.data as { spec?: JobSpec } | undefined)?.spec
  const told = ofJob.slice(Math.max(0, submitted)).flatMap((event): Told[] => {
    const text = sentenceOf(event, spec)
    return text === undefined ? [] : [{ event, text: `${subject}${text}` }]
  })
  return told.toReversed()
}

/** @returns what is said of the job, or undefined for what explains nothing */
function sentenceOf({ type, data }: StoredEvent, spec: JobSpec | undefined): string | undefined {
  const { attempt, step, reason, failure } = data as {
    attempt?: number
    step?: number
    reason?: string
    failure?: JobFailure
  }
  const title = stepTitle(step ?? 0, spec?.steps[step ?? 0]?.name ?? '')
  switch (type) {
    case 'job.succeeded':
      return ' succeeded'
    case 'job.failed':
      return ` failed: ${failure?.error.message}`
    case 'job.attempt-failed':
      return `'s attempt ${attempt} failed, to be tried again (retries: ${spec?.retries}): ${failure?.error.message}`
    case 'job.cancelled':
      return ` was cancelled: ${reason}`
    case 'job.cancel-requested':
      return ` was asked to end: ${reason}`
    case 'job.step-skipped':
      return `, attempt ${attempt}: ${title} was skipped`
    case 'job.step-ended':
      return `, attempt ${attempt}: ${title} ${endOf(data as unknown as StepEnd)}`
    default:
      return undefined
  }
}

function endOf({ outcome, exitCode, reason, error, timings: { ranMs } }: StepEnd): string {
  const ran = ranMs === undefined ? '' : ` after ${ranMs} ms`
  if (error !== undefined) return `${outcome}: ${error.message}`
  if (reason !== undefined) return `${outcome}${ran}: ${reason}`
  return outcome === 'succeeded' ? `succeeded${ran}` : `${outcome} with exit code ${exitCode}${ran}`
}
