import { command } from '../../commands/command.ts'
import { image } from '../../commands/image.ts'
import { aggregates } from '../../commands/index.ts'
import { snapshot } from '../../commands/snapshot.ts'
import type { EventLog } from '../../log/event-log.ts'
import type { CommandEnvelope } from '../../model/command.ts'
import type { StoredEvent } from '../../model/event.ts'

/**
 * What the log tells of a subject: its events, the commands that were meant for it, and those that caused its events.
 *
 * @param subject an id, or AGGREGATE/ID
 * @returns the newest, at most `limit`, oldest first
 */
export async function historyOf(
  log: EventLog,
  namespace: string,
  subject: string,
  limit: number,
  signal: AbortSignal,
): Promise<StoredEvent[]> {
  const isMeant = subjectMatcher(subject)
  const through = log.head
  const causes = new Set<string>()
  for await (const event of log.read(0, through)) {
    signal.throwIfAborted()
    if (event.namespace !== namespace) continue
    if (isMeant(event.subject) || isMeant(targetOf(event))) {
      causes.add(event.commandid)
      causes.add(event.correlationid)
    }
  }
  causes.delete('') // What the host did by itself.
  const found: StoredEvent[] = []
  for await (const event of log.read(0, through)) {
    signal.throwIfAborted()
    if (event.namespace !== namespace) continue
    if (event.type === 'command.accepted') {
      const { id, parentId } = (event.data as { command: CommandEnvelope }).command
      if (parentId !== undefined && causes.has(parentId)) causes.add(id) // A step, whatever it is about.
    }
    const isCause = event.aggregate === command.name && causes.has(event.subject.slice(command.name.length + 1))
    if (!isCause && !isMeant(event.subject)) continue
    found.push(event)
    if (found.length >= limit * 2) found.splice(0, limit)
  }
  return found.slice(-limit)
}

/** The subject of a command, from the event that it was accepted by. */
function targetOf(event: StoredEvent): string {
  if (event.type !== 'command.accepted') return ''
  const { aggregate, subject } = (event.data as { command: CommandEnvelope }).command
  return `${aggregate}/${subject}`
}

/** Matches subjects by what a person calls them: with or without the aggregate, an image by any of its names. */
export function subjectMatcher(text: string): (subject: string) => boolean {
  const named = [...aggregates.keys()].find((name) => text.startsWith(`${name}/`))
  const id = named === undefined ? text : text.slice(named.length + 1)
  const canonical = image.id.safeParse(id).data ?? id
  return (subject) => {
    const slash = subject.indexOf('/')
    const aggregate = subject.slice(0, slash)
    if (named !== undefined && aggregate !== named) return false
    const found = subject.slice(slash + 1)
    if (found === id) return true
    if (aggregate === image.name) return found === canonical
    // SNAPSHOTTER/KEY: a container's has its id as key.
    return aggregate === snapshot.name && named === undefined && found.slice(found.indexOf('/') + 1) === id
  }
}
