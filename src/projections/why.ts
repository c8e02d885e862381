import type { StoredEvent } from '../model/event.ts'
import { endsOfJob, JOB_ENDS } from './why-job.ts'

/** One link of a chain of causes. */
export interface Reason {
  /** Position of the event that says so. */
  position: number
  time: string
  text: string
  actor?: string
}

/** What ends or fails something, and so has a reason. */
const DECISIVE = new Set([
  ...JOB_ENDS,
  'command.cancelled',
  'command.failed',
  'container.deleted',
  'content.deleted',
  'image.deleted',
  'namespace.removed',
  'pool.degraded',
  'snapshot.removed',
  'task.create-failed',
  'task.exited',
  'task.stuck',
])

/** Refused, they decide nothing. */
const ENDS_OTHERS: ReadonlySet<string> = new Set(['job.cancel', 'job.remove'])

const GONE = new Set([...DECISIVE].filter((type) => /\.(deleted|removed)$/.test(type)))

interface Asked {
  id: string
  type: string
  subject: string
  actor: string
  parentId?: string
}

/**
 * Why something stopped, failed or went: from the last event that decided it back to the command and whoever asked.
 *
 * @param history all about the subject with the commands that led to it, oldest first
 * @param isMeant whether an event is about the subject itself
 * @returns the nearest cause first; empty when nothing has ended or failed
 */
export function whyOf(history: readonly StoredEvent[], isMeant: (subject: string) => boolean): Reason[] {
  const commands = commandsOf(history)
  const decides = (event: StoredEvent) =>
    DECISIVE.has(event.type) && (isMeant(event.subject) || isFailureOf(event, commands, isMeant))
  const restored = history.findLast(({ type, subject }) => type === 'pool.restored' && isMeant(subject))?.position ?? 0
  const isOver = ({ type, position }: StoredEvent) => type === 'pool.degraded' && position < restored
  const ended = history.findLast((event) => decides(event) && !GONE.has(event.type) && !isOver(event))
  // What went before that was undone, or was another of the same name.
  const gone = history.findLast(
    (event) => isMeant(event.subject) && GONE.has(event.type) && event.position > (ended?.position ?? 0),
  )
  const reasons: Reason[] = []
  if (gone) reasons.push({ ...placeOf(gone), text: sentenceOf(gone, commands) }, ...chainOf(gone.commandid, commands))
  if (ended === undefined) return reasons
  if (JOB_ENDS.has(ended.type)) return [...reasons, ...whyOfJob(history, ended, commands)]
  reasons.push({ ...placeOf(ended), text: sentenceOf(ended, commands) })
  const signalled = ended.type === 'task.exited' ? signalBefore(history, ended) : undefined
  if (signalled) reasons.push({ ...placeOf(signalled), text: `signal ${signalled.data.signal} was sent to it` })
  return [...reasons, ...chainOf((signalled ?? ended).commandid, commands)]
}

/** Its end and all that came before, down to whoever asked for that end, or else for the job. */
function whyOfJob(
  history: readonly StoredEvent[],
  { subject, correlationid }: StoredEvent,
  commands: ReturnType<typeof commandsOf>,
): Reason[] {
  const ends = endsOfJob(history, subject)
  const requested = ends.find(({ event }) => event.type === 'job.cancel-requested')?.event
  const cancelled = ends.find(({ event }) => event.type === 'job.cancelled')?.event
  const reasons = ends.map(({ event, text }) => ({ ...placeOf(event), text }))
  return [...reasons, ...chainOf((requested ?? cancelled)?.commandid ?? correlationid, commands)]
}

/** From a command to the one that somebody asked for. */
function chainOf(id: string, commands: ReturnType<typeof commandsOf>): Reason[] {
  const reasons: Reason[] = []
  for (let found = commands.get(id); found; found = commands.get(found.asked.parentId ?? '')) {
    const { asked, event } = found
    const by = asked.parentId === undefined ? ` by ${asked.actor}` : ', as a step'
    reasons.push({ ...placeOf(event), text: `${asked.type} ${asked.subject} was asked for${by}`, actor: asked.actor })
  }
  return reasons
}

function commandsOf(history: readonly StoredEvent[]) {
  const commands = new Map<string, { asked: Asked; event: StoredEvent }>()
  for (const event of history) {
    if (event.type !== 'command.accepted') continue
    const { command: asked } = event.data as { command: Asked }
    commands.set(asked.id, { asked, event })
  }
  return commands
}

/** Whether a command failed that was meant for the subject. */
function isFailureOf(
  event: StoredEvent,
  commands: ReturnType<typeof commandsOf>,
  isMeant: (subject: string) => boolean,
): boolean {
  if (event.aggregate !== 'command') return false
  const asked = commands.get(event.subject.slice('command/'.length))?.asked
  return asked !== undefined && !ENDS_OTHERS.has(asked.type) && isMeant(`${asked.type.split('.')[0]}/${asked.subject}`)
}

function sentenceOf(event: StoredEvent, commands: ReturnType<typeof commandsOf>): string {
  const { data, subject, type } = event
  switch (type) {
    case 'task.exited':
      return exitSentence(subject, data as { exitCode: number; reason?: string; oomKills?: number })
    case 'task.stuck':
      return stuckSentence(subject, data as { processes: Held[]; mounts: string[] })
    case 'task.create-failed':
      return `${subject} could not be created: ${data.error}`
    case 'pool.degraded':
      return `tasks of ${subject} do not become ready: ${data.error}`
    case 'command.failed':
    case 'command.cancelled': {
      const asked = commands.get(subject.slice('command/'.length))?.asked
      const { message } = data.error as { message: string }
      return `${asked?.type ?? subject} ${type.slice('command.'.length)}: ${message}`
    }
    default:
      return `${subject} was ${type.slice(type.indexOf('.') + 1)}`
  }
}

function exitSentence(subject: string, exit: { exitCode: number; reason?: string; oomKills?: number }): string {
  if (exit.reason === 'oom') return `${subject} was ended by the kernel for want of memory (exit code ${exit.exitCode})`
  if (exit.reason === 'checkpoint') return `${subject} was written to disk by a checkpoint, and ended with it`
  if (exit.reason === 'timeout') return `${subject} ran longer than it was allowed to (exit code ${exit.exitCode})`
  if (exit.reason !== undefined) return `${subject} ended with exit code ${exit.exitCode}: ${exit.reason}`
  const signal = exit.exitCode > 128 ? `, as signal ${exit.exitCode - 128} ends a process` : ''
  return `${subject} ended with exit code ${exit.exitCode}${signal}`
}

interface Held {
  pid: number
  command: string
  state: string
  waitsIn?: string
}

function stuckSentence(subject: string, { processes, mounts }: { processes: Held[]; mounts: string[] }): string {
  if (processes.length === 0) return `${subject} could not be removed: ${mounts.join(', ')} is still mounted`
  const each = processes.map(
    ({ pid, command, state, waitsIn }) =>
      `process ${pid} (${command}) is in state ${state}${waitsIn === undefined ? '' : `, in ${waitsIn}`}`,
  )
  return `${subject} does not end: ${each.join('; ')}`
}

/** The last signal to the first process between its start and its end, when the exit code may come from it. */
function signalBefore(history: readonly StoredEvent[], exited: StoredEvent): StoredEvent | undefined {
  const before = history.filter(({ position, subject }) => position < exited.position && subject === exited.subject)
  const started = before.findLast(({ type }) => type === 'task.started')?.position ?? 0
  return before.findLast(
    ({ type, data, position }) => type === 'task.killed' && position > started && data.execId === undefined,
  )
}

const placeOf = ({ position, time }: StoredEvent) => ({ position, time })
