import { type CommandState, command, isEnded } from '../../commands/command.ts'
import { namespace as namespaces } from '../../commands/namespace.ts'
import type { EventLog } from '../../log/event-log.ts'
import { positionAt } from '../../log/position.ts'
import type { Entry } from '../../model/aggregate.ts'
import { PurserError } from '../../model/errors.ts'
import { uuid } from '../../model/ids.ts'

export type FoundCommand = Entry<Exclude<CommandState, { status: 'absent' }>>

/** A command is in the log soon after its id was made; later it was never accepted. */
const ACCEPTED_WITHIN_MS = 10 * 60_000
/** Ids may run a little ahead of the clock. */
const AHEAD_MS = 1000

/**
 * A command by its id, which is unique on the node: from the documents, or, when it ended so long ago that retention took
 * it out of them, from its events.
 *
 * @param likely the namespace to look in first
 * @throws PurserError not_found
 */
export async function findCommand(
  log: EventLog,
  id: string,
  likely: string,
  signal: AbortSignal,
): Promise<FoundCommand> {
  if (!uuid.safeParse(id).success) throw unknown(id)
  for (const namespace of [likely, ...namesOf(log)]) {
    const found = documentOf(log, namespace, id)
    if (found) return found
  }
  // Not among them: of a namespace that is gone.
  for (const { namespace, id: other } of log.documents.list(command)) {
    const found = other === id ? documentOf(log, namespace, id) : undefined
    if (found) return found
  }
  return (await replayed(log, id, signal)) ?? fail(unknown(id))
}

export function documentOf(log: EventLog, namespace: string, id: string): FoundCommand | undefined {
  const state = log.documents.get(command, namespace, id)
  if (state.status === 'absent') return undefined
  return { namespace, id, version: log.documents.read(command.name, namespace, id).version, state }
}

function* namesOf(log: EventLog): Iterable<string> {
  for (const { id } of log.documents.list(namespaces)) yield id
}

async function replayed(log: EventLog, id: string, signal: AbortSignal): Promise<FoundCommand | undefined> {
  const madeMs = Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)
  const subject = `${command.name}/${id}`
  let found: FoundCommand | undefined
  let state: CommandState = command.initial
  for await (const event of log.read(await positionAt(log, madeMs - AHEAD_MS))) {
    signal.throwIfAborted()
    if (event.subject === subject) {
      state = log.documents.aggregate(command.name).evolve(state, event) as CommandState
      if (state.status !== 'absent') found = { namespace: event.namespace, id, version: event.position, state }
      if (isEnded(state)) return found
    }
    if (found === undefined && Date.parse(event.time) > madeMs + ACCEPTED_WITHIN_MS) return undefined
  }
  return found
}

const unknown = (id: string): PurserError =>
  new PurserError('not_found', `command ${id.slice(0, 100)} is not known`, { remedy: 'purser command ls' })

function fail(error: PurserError): never {
  throw error
}
