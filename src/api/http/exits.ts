import { command } from '../../commands/command.ts'
import { container } from '../../commands/container.ts'
import { execOf, task } from '../../commands/task.ts'
import type { EventLog } from '../../log/event-log.ts'
import { PurserError } from '../../model/errors.ts'
import type { StoredEvent } from '../../model/event.ts'
import type { Exit } from '../services.ts'

/** Of what ended with its container, without an exit of its own: the kernel kills it. @see pid_namespaces(7) */
const KILLED = 128 + 9

/**
 * Waits for the exit of a container's present or last task; for the next one's, when there is none.
 *
 * @throws PurserError not_found when the container goes without one
 */
export async function exitOfTask(log: EventLog, namespace: string, id: string, signal: AbortSignal): Promise<Exit> {
  const state = log.documents.get(task, namespace, id)
  if (state.status === 'stopped') return exitFrom(state)
  return await firstOf(log, namespace, signal, (event) => {
    if (event.type === 'task.exited' && event.subject === `task/${id}`) return exitFrom(event.data)
    if (event.type !== 'container.deleted' || event.subject !== `container/${id}`) return undefined
    throw new PurserError('not_found', `container ${id} was deleted before a task of it ended`, {
      remedy: `purser history ${id}`,
    })
  })
}

/**
 * Waits as {@link exitOfTask} does, and then for the removal of a container that asked to be removed on its exit. A
 * removal that fails is not waited for any longer: its own command tells why.
 */
export async function exitAndRemoval(log: EventLog, namespace: string, id: string, signal: AbortSignal): Promise<Exit> {
  const isOver = (event: StoredEvent): true | undefined => {
    if (event.type === 'container.deleted') return event.subject === `container/${id}` || undefined
    if (event.type !== 'command.failed' && event.type !== 'command.cancelled') return undefined
    const state = log.documents.get(command, namespace, event.commandid)
    const isRemoval = state.status !== 'absent' && state.command.type === 'container.remove'
    return (isRemoval && state.command.subject === id) || undefined
  }
  // Both from now on: the removal can be over before the exit has been looked at.
  const over = new AbortController()
  const removed = firstOf(log, namespace, AbortSignal.any([signal, over.signal]), isOver)
  removed.catch(() => {})
  try {
    const exit = await exitOfTask(log, namespace, id, signal)
    const record = log.documents.get(container, namespace, id)
    if (record.status === 'present' && record.onExit === 'remove') await removed
    return exit
  } finally {
    over.abort()
  }
}

/** Waits for the exit of an exec. @throws PurserError what it failed to start with, or not_found */
export async function exitOfExec(
  log: EventLog,
  namespace: string,
  id: string,
  execId: string,
  signal: AbortSignal,
): Promise<Exit> {
  const state = log.documents.get(task, namespace, id)
  const exec = execOf(state, execId)
  if (exec === undefined) {
    throw new PurserError('not_found', `exec ${execId} is not in container ${id}`, { remedy: `purser inspect ${id}` })
  }
  if (exec.status === 'exited') return exitFrom(exec)
  return await firstOf(log, namespace, signal, (event) => {
    if (event.subject !== `task/${id}`) return undefined
    switch (event.type) {
      case 'task.exec-exited':
        return event.data.execId === execId ? exitFrom(event.data) : undefined
      case 'task.exec-failed':
        if (event.data.execId !== execId) return undefined
        throw new PurserError('failed_precondition', `exec ${execId}: ${String(event.data.error)}`, {
          remedy: `purser history ${id}`,
        })
      case 'task.exited': {
        const { exitedAt } = exitFrom(event.data)
        return { exitCode: KILLED, exitedAt, reason: 'its container ended' }
      }
    }
  })
}

/**
 * Waits until a container has a task whose streams can be read.
 *
 * @param origin the command that is to start it: another's task of the same name is not meant
 * @throws PurserError what the command failed with that was to run the container; not_found when its task has gone again
 */
export async function taskOf(
  log: EventLog,
  namespace: string,
  id: string,
  signal: AbortSignal,
  origin?: string,
): Promise<void> {
  const isThere = () => {
    const state = log.documents.get(task, namespace, id)
    if (state.status === 'absent' || state.status === 'creating') return false
    return origin === undefined || state.origin === origin
  }
  const failIfEnded = (commandId: string) => {
    const state = log.documents.get(command, namespace, commandId)
    if (state.status === 'absent' || state.command.aggregate !== container.name || state.command.subject !== id) return
    if ('error' in state) throw PurserError.fromBody(state.error)
    if (state.status === 'succeeded' && commandId === origin) {
      throw new PurserError('not_found', `container ${id} has no task any more`, { remedy: `purser history ${id}` })
    }
  }
  if (isThere()) return
  if (origin !== undefined) failIfEnded(origin)
  await firstOf(log, namespace, signal, (event) => {
    if (isThere()) return true
    const isEnd = event.type === 'command.failed' || event.type === 'command.cancelled'
    if (isEnd && (origin === undefined || origin === event.commandid)) failIfEnded(event.commandid)
    return undefined
  })
}

/** The first value that an event to come leads to; what `look` throws, this throws. */
async function firstOf<T>(
  log: EventLog,
  namespace: string,
  signal: AbortSignal,
  look: (event: StoredEvent) => T | undefined,
): Promise<T> {
  signal.throwIfAborted()
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const onAbort = () => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  using _ = log.listen((event) => {
    if (event.namespace !== namespace) return
    try {
      const found = look(event)
      if (found !== undefined) resolve(found)
    } catch (error) {
      reject(error)
    }
  })
  try {
    return await promise
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

function exitFrom(ended: object): Exit {
  const { exitCode, exitedAt, reason, droppedBytes } = ended as Exit
  return {
    exitCode,
    exitedAt,
    ...(reason === undefined ? {} : { reason }),
    ...(droppedBytes === undefined ? {} : { droppedBytes }),
  }
}
