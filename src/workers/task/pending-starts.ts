import { command, isActive } from '../../commands/command.ts'
import { execOf, tasks } from '../../commands/task.ts'
import type { EventLog } from '../../log/event-log.ts'

/**
 * Starts of processes that the log has no outcome of yet. The end of such a process is recorded after its start, however
 * short it ran, and also when the daemon was killed in between: the start is then redelivered, and finds what it began.
 */
export class PendingStarts {
  readonly #log: EventLog
  /** Ids of the commands, by process. */
  readonly #commands = new Map<string, { namespace: string; commandId: string }>()

  /** Knows those of an earlier daemon from the log. */
  constructor(log: EventLog) {
    this.#log = log
    for (const { namespace, id, state } of log.documents.list(command)) {
      if (!isActive(state) || state.attempts === 0) continue
      const { type, subject, payload } = state.command
      const isRestore = type === 'task.create' && payload.checkpoint !== undefined
      if (type === 'task.start' || isRestore) this.begin(namespace, subject, undefined, id)
      if (type === 'task.exec') this.begin(namespace, subject, String(payload.execId), id)
    }
  }

  /** Called before the process may run. */
  begin(namespace: string, id: string, execId: string | undefined, commandId: string): void {
    this.#commands.set(keyOf(namespace, id, execId), { namespace, commandId })
  }

  /** Fulfilled when the log has the start, or its command ended without one. @throws the signal's reason when it aborts first */
  async settled(namespace: string, id: string, execId: string | undefined, signal: AbortSignal): Promise<void> {
    const key = keyOf(namespace, id, execId)
    const isSettled = () => !this.#isPending(namespace, id, execId, key)
    signal.throwIfAborted()
    if (!isSettled()) {
      await new Promise<void>((resolve, reject) => {
        const settle = (done: () => void) => {
          listening[Symbol.dispose]()
          signal.removeEventListener('abort', onAbort)
          done()
        }
        const listening = this.#log.listen(() => {
          if (isSettled()) settle(resolve)
        })
        const onAbort = () => settle(() => reject(signal.reason))
        signal.addEventListener('abort', onAbort, { once: true })
      })
    }
    this.#commands.delete(key)
  }

  #isPending(namespace: string, id: string, execId: string | undefined, key: string): boolean {
    const begun = this.#commands.get(key)
    if (!begun) return false
    const state = this.#log.documents.get(tasks, namespace, id)
    const isToBegin = state.status === 'created' || state.status === 'creating'
    const waits = execId === undefined ? isToBegin : execOf(state, execId)?.status === 'starting'
    return waits && isActive(this.#log.documents.get(command, begun.namespace, begun.commandId))
  }
}

const keyOf = (namespace: string, id: string, execId: string | undefined): string =>
  `${namespace}/${id}/${execId ?? ''}`
