import type { StoredEvent } from '../../client/index.ts'
import { whatOf } from './event-words.ts'

/** Shown by its first 12 digits. */
const DIGEST = /(sha256:[0-9a-f]{12})[0-9a-f]{52}/g

interface Asked {
  type: string
  subject: string
  parentId?: string
  surface?: string
}

/**
 * Events as a story: what a command led to stands below it, steps are indented under what they are steps of, times count
 * from the first event.
 */
export function* storyOf(events: readonly StoredEvent[]): Generator<string> {
  const commands = new Map<string, Asked>()
  for (const { type, data } of events) {
    if (type !== 'command.accepted') continue
    const { command } = data as { command: Asked & { id: string } }
    commands.set(command.id, command)
  }
  const depthOf = (id: string): number => {
    const parentId = commands.get(id)?.parentId
    return parentId !== undefined && commands.has(parentId) ? depthOf(parentId) + 1 : 0
  }
  const [first] = events
  if (first === undefined) return
  yield `${first.time}`
  for (const event of events) {
    const isOfCommand = event.aggregate === 'command'
    const id = isOfCommand ? event.subject.slice('command/'.length) : event.commandid
    const text = isOfCommand
      ? ofCommand(event, commands.get(id))
      : `${event.type}  ${event.subject}  ${whatOf(event.data)}`.replaceAll(DIGEST, '$1…')
    if (text === undefined) continue
    const depth = commands.has(id) ? depthOf(id) + (isOfCommand ? 0 : 1) : 0
    yield `${since(first.time, event.time).padStart(12)}  ${'  '.repeat(depth)}${text}`.trimEnd()
  }
}

/** @returns undefined for what tells nothing: that a worker began at the first attempt */
function ofCommand({ type, data, actor }: StoredEvent, asked: Asked | undefined): string | undefined {
  const name = asked === undefined ? 'a command' : asked.type
  const { attempt, durationMs, error } = data as { attempt?: number; durationMs?: number; error?: { message: string } }
  switch (type) {
    case 'command.accepted':
      return `${name} ${asked?.subject}${asked?.parentId === undefined ? `  by ${whoOf(actor)}` : ''}`
    case 'command.started':
      return attempt === 1 ? undefined : `${name}: attempt ${attempt}`
    case 'command.cancel-requested':
      return `${name}: to be cancelled, says ${whoOf(actor)}`
    default: {
      const outcome = type.slice('command.'.length)
      return `${name} ${outcome} after ${durationMs} ms${error === undefined ? '' : `: ${error.message}`}`
    }
  }
}

/** `unix:uid=0,gid=0,pid=17,exe=/usr/bin/node` in words. */
function whoOf(actor: string): string {
  const [, uid, pid, program] = /^unix:uid=(\d+),gid=\d+,pid=(\d+)(?:,exe=(.*))?$/.exec(actor) ?? []
  if (uid === undefined) return actor
  return `uid ${uid}, ${program === undefined ? 'process' : program.slice(program.lastIndexOf('/') + 1)} ${pid}`
}

function since(begin: string, time: string): string {
  const ms = Date.parse(time) - Date.parse(begin)
  if (ms < 10_000) return `+${ms} ms`
  const seconds = Math.round(ms / 1000)
  if (seconds < 600) return `+${seconds} s`
  return seconds < 36_000 ? `+${Math.round(seconds / 60)} min` : time.slice(0, 19)
}
