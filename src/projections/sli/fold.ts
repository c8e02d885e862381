import { commandTypes } from '../../commands/index.ts'
import { type JobFailure, stepContainer } from '../../commands/job.ts'
import { REBOOT } from '../../commands/task.ts'
import type { CommandEnvelope } from '../../model/command.ts'
import { ERROR_CODES, type ErrorCode } from '../../model/errors.ts'
import type { StoredEvent } from '../../model/event.ts'
import type { Sample } from './families.ts'

/** A command that has not ended. */
export interface OpenCommand {
  type: string
  acceptedMs: number
  worker?: string
  /** The process that it was to start runs since then. */
  runsMs?: number
  /** It had an image pulled. */
  pulled?: true
}

/** A task that has not ended. */
export interface OpenTask {
  stopSignal: number
  /** Signals that somebody had sent to it. */
  signals: number[]
  ooms: number
  /** It is a step of a job, whose tests may fail. */
  step?: true
}

/** A job that has not ended. */
export interface OpenJob {
  submittedMs: number
  /** Its first attempt. */
  startedMs?: number
}

/** What is remembered of things that have begun, until they end. */
export interface Memory<T> {
  get(key: string): T | undefined
  set(key: string, value: T): void
  delete(key: string): void
}

export interface Memories {
  commands: Memory<OpenCommand>
  tasks: Memory<OpenTask>
  jobs: Memory<OpenJob>
}

/** The types that are folded. */
export const FOLDS = [
  'command.accepted',
  'command.started',
  'command.succeeded',
  'command.failed',
  'command.cancelled',
  'image.pulled',
  'job.cancelled',
  'job.failed',
  'job.started',
  'job.step-ended',
  'job.step-started',
  'job.submitted',
  'job.succeeded',
  'task.created',
  'task.create-failed',
  'task.deleted',
  'task.exited',
  'task.killing',
  'task.oom',
  'task.started',
] as const

/** Who asked is to blame for these, or has got what it asked for. */
const REFUSALS: ReadonlySet<string> = new Set<ErrorCode>([
  'invalid_argument',
  'not_found',
  'already_exists',
  'permission_denied',
  'failed_precondition',
  'out_of_range',
  'unauthenticated',
])
const STARTS: ReadonlySet<string> = new Set(['container.run', 'container.start'])
const USES_IMAGE: ReadonlySet<string> = new Set(['container.run', 'container.provision'])
const WORKERS: ReadonlySet<string> = new Set(['pull', 'snapshot', 'task', 'gc', 'saga'])
const KILL = 9
const SIGNALS_MAX = 16

/**
 * What an event adds to the counts. Besides the event it depends on nothing but what was remembered of earlier ones, which
 * it keeps up to date.
 */
export function fold(memories: Memories, event: StoredEvent): Sample[] {
  switch (event.type) {
    case 'command.accepted':
      return accepted(memories, event)
    case 'command.started':
      return started(memories, event)
    case 'command.succeeded':
    case 'command.failed':
    case 'command.cancelled':
      return ended(memories, event)
    case 'image.pulled': {
      const { cached, durationMs } = event.data as { cached: boolean; durationMs: number }
      return [
        { family: 'pullDuration', labels: [cached ? 'cached' : 'cold'], value: durationMs / 1000 },
        one('imageUses', cached ? 'hit' : 'miss'),
      ]
    }
    default:
      return event.aggregate === 'job' ? ofJob(memories, event) : ofTask(memories, event)
  }
}

function accepted({ commands }: Memories, event: StoredEvent): Sample[] {
  const { command } = event.data as { command: CommandEnvelope }
  commands.set(command.id, { type: command.type, acceptedMs: Date.parse(event.time) })
  const outermost = command.type === 'image.pull' ? commands.get(command.correlationId) : undefined
  if (outermost && command.id !== command.correlationId)
    commands.set(command.correlationId, { ...outermost, pulled: true })
  return []
}

function started({ commands }: Memories, event: StoredEvent): Sample[] {
  const id = idOf(event)
  const open = commands.get(id)
  if (!open) return []
  const given = (event.data as { worker: string }).worker
  const worker = WORKERS.has(given) ? given : 'other'
  commands.set(id, { ...open, worker })
  // Another attempt waits for what went wrong with the one before.
  if (open.worker !== undefined) return []
  return [{ family: 'waits', labels: [worker], value: secondsBetween(open.acceptedMs, Date.parse(event.time)) }]
}

function ended({ commands }: Memories, event: StoredEvent): Sample[] {
  const id = idOf(event)
  const open = commands.get(id)
  if (!open) return [] // Accepted before the log begins.
  commands.delete(id)
  const { durationMs } = event.data as { durationMs: number }
  const outcome = outcomeOf(event)
  const type = commandTypes.has(open.type) ? open.type : 'other'
  const samples: Sample[] = [one('commands', type, outcome)]
  if (open.worker !== undefined) samples.push({ family: 'services', labels: [open.worker], value: durationMs / 1000 })
  if (STARTS.has(type)) {
    samples.push(one('starts', outcome))
    const runsMs = open.runsMs ?? Date.parse(event.time)
    if (outcome === 'succeeded')
      samples.push({
        family: 'startDuration',
        labels: [open.pulled ? 'pulled' : 'present'],
        value: secondsBetween(open.acceptedMs, runsMs),
      })
  }
  // One that was pulled is counted with its pull.
  if (USES_IMAGE.has(type) && outcome === 'succeeded' && !open.pulled) samples.push(one('imageUses', 'hit'))
  if (type === 'image.pull') {
    samples.push(one('pulls', outcome))
    if (outcome === 'failed') samples.push(one('pullFailures', codeOf(event)))
  }
  if (type === 'pool.claim') samples.push(...claimed(event, outcome, durationMs))
  if (type.startsWith('snapshot.')) samples.push(one('snapshots', type.slice('snapshot.'.length), outcome))
  return samples
}

/** Claims that were in order. */
function claimed({ data }: StoredEvent, outcome: string, durationMs: number): Sample[] {
  if (outcome === 'failed') return [one('claims', 'none')]
  const result = (data as { result?: { start?: unknown } }).result
  const start = result?.start === 'warm' || result?.start === 'cold' ? result.start : undefined
  if (start === undefined) return []
  return [one('claims', start), { family: 'claimDuration', labels: [start], value: durationMs / 1000 }]
}

function ofJob({ jobs, tasks }: Memories, event: StoredEvent): Sample[] {
  const { namespace, type } = event
  const key = `${namespace}/${idOf(event)}`
  const timeMs = Date.parse(event.time)
  const open = jobs.get(key)
  switch (type) {
    case 'job.submitted':
      jobs.set(key, { submittedMs: timeMs })
      return []
    case 'job.started':
      if (open === undefined || open.startedMs !== undefined) return []
      jobs.set(key, { ...open, startedMs: timeMs })
      return [{ family: 'jobWaits', labels: [], value: secondsBetween(open.submittedMs, timeMs) }]
    case 'job.step-started':
    case 'job.step-ended': {
      const { attempt, step } = event.data as { attempt: number; step: number }
      const container = `${namespace}/${stepContainer(idOf(event), attempt, step)}`
      if (type === 'job.step-ended') tasks.delete(container)
      else tasks.set(container, { stopSignal: 0, signals: [], ooms: 0, step: true })
      return []
    }
    default: {
      jobs.delete(key)
      const outcome = outcomeOfJob(event)
      if (open?.startedMs === undefined || outcome === 'cancelled') return [one('jobs', outcome)]
      return [
        one('jobs', outcome),
        { family: 'jobDuration', labels: [outcome], value: secondsBetween(open.startedMs, timeMs) },
      ]
    }
  }
}

/** What a job may fail with that it has not brought about: a registry that does not answer, a lost container, a bug. */
const BREAKS: ReadonlySet<string> = new Set<ErrorCode>(['aborted', 'data_loss', 'internal', 'unavailable'])

function outcomeOfJob({ type, data }: StoredEvent): string {
  if (type !== 'job.failed') return type.slice('job.'.length)
  return BREAKS.has((data as { failure: JobFailure }).failure.error.code) ? 'broken' : 'failed'
}

function ofTask({ commands, tasks }: Memories, event: StoredEvent): Sample[] {
  const key = `${event.namespace}/${idOf(event)}`
  const open = tasks.get(key)
  switch (event.type) {
    case 'task.created': {
      const { stopSignal } = event.data as { stopSignal: number }
      tasks.set(key, { stopSignal, signals: [], ooms: 0, ...(open?.step ? { step: true } : {}) })
      return []
    }
    case 'task.started': {
      const command = commands.get(event.correlationid)
      if (command) commands.set(event.correlationid, { ...command, runsMs: Date.parse(event.time) })
      return []
    }
    case 'task.killing': {
      const { signal, execId } = event.data as { signal: number; execId?: string }
      if (open && execId === undefined && !open.signals.includes(signal) && open.signals.length < SIGNALS_MAX)
        tasks.set(key, { ...open, signals: [...open.signals, signal] })
      return []
    }
    case 'task.oom':
      if (open) tasks.set(key, { ...open, ooms: open.ooms + 1 })
      return [one('ooms')]
    case 'task.exited': {
      tasks.delete(key)
      const exit = event.data as { exitCode: number; reason?: string; oomKills: number }
      const how = howEnded(exit, open)
      const samples = [one('exits', how)]
      // A reboot is no shim's fault.
      if (how === 'lost' && exit.reason !== `lost: ${REBOOT}`) samples.push(one('shimLosses'))
      // Those that the daemon was not told of while it was away.
      const untold = exit.oomKills - (open?.ooms ?? 0)
      if (untold > 0) samples.push({ family: 'ooms', labels: [], value: untold })
      return samples
    }
    default: // Deleted, or never created.
      tasks.delete(key)
      return []
  }
}

/** A process may handle the signal that asks it to end and leave with any status. */
function howEnded({ exitCode, reason }: { exitCode: number; reason?: string }, open: OpenTask | undefined): string {
  if (reason === 'oom' || reason === 'timeout') return reason
  if (reason?.startsWith('lost')) return 'lost'
  if (exitCode === 0) return 'clean'
  if (reason === 'checkpoint') return 'killed'
  const signals = open?.signals ?? []
  const wasAsked = signals.some((signal) => signal === open?.stopSignal || signal === KILL || exitCode === 128 + signal)
  if (wasAsked) return 'killed'
  return open?.step ? 'failed' : 'crashed'
}

function outcomeOf(event: StoredEvent): string {
  const { type } = event
  if (type !== 'command.failed') return type.slice('command.'.length)
  return REFUSALS.has(codeOf(event)) ? 'refused' : 'failed'
}

function codeOf({ data }: StoredEvent): string {
  const { code } = (data as { error: { code: string } }).error
  return Object.hasOwn(ERROR_CODES, code) ? code : 'unknown'
}

const one = (family: Sample['family'], ...labels: string[]): Sample => ({ family, labels, value: 1 })

const idOf = ({ aggregate, subject }: StoredEvent): string => subject.slice(aggregate.length + 1)

/** The clock may have been set back in between. */
const secondsBetween = (fromMs: number, toMs: number): number => Math.max(0, toMs - fromMs) / 1000
