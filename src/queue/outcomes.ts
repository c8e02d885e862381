import { command, type EndedCommand, isEnded } from '../commands/command.ts'
import type { EventLog } from '../log/event-log.ts'
import { PurserError } from '../model/errors.ts'
import type { StoredEvent } from '../model/event.ts'

/** Waits for commands to end, by their outcome events: the one way of waiting for the CLI, HTTP, gRPC and sagas. */
export class Outcomes {
  readonly #log: EventLog
  readonly #waiting = new Map<string, Set<(ended: EndedCommand) => void>>()

  constructor(log: EventLog) {
    this.#log = log
    log.listen((event) => this.#applied(event))
  }

  /**
   * @returns the command with its outcome
   * @throws the signal's reason when it aborts first; the command goes on
   */
  async wait(namespace: string, id: string, signal: AbortSignal): Promise<EndedCommand> {
    const state = this.#log.documents.get(command, namespace, id)
    if (isEnded(state)) return state
    if (state.status === 'absent') {
      throw new PurserError('not_found', `command ${id} is not known in namespace ${namespace}`, {
        remedy: 'purser command ls',
      })
    }
    signal.throwIfAborted()
    return await new Promise<EndedCommand>((resolve, reject) => {
      const waiters = this.#waiting.get(id) ?? new Set()
      this.#waiting.set(id, waiters)
      const settle = () => {
        signal.removeEventListener('abort', onAbort)
        waiters.delete(done)
        if (waiters.size === 0) this.#waiting.delete(id)
      }
      const done = (ended: EndedCommand) => {
        settle()
        resolve(ended)
      }
      const onAbort = () => {
        settle()
        reject(signal.reason)
      }
      waiters.add(done)
      signal.addEventListener('abort', onAbort, { once: true })
    })
  }

  #applied(event: StoredEvent): void {
    if (event.aggregate !== 'command') return
    const id = event.subject.slice('command/'.length)
    const waiters = this.#waiting.get(id)
    if (!waiters) return
    const state = this.#log.documents.get(command, event.namespace, id)
    if (isEnded(state)) for (const done of [...waiters]) done(state)
  }
}

/** The result of an ended command. @throws PurserError what it failed with */
export function resultOf(ended: EndedCommand): Record<string, unknown> {
  if (ended.status === 'succeeded') return ended.result
  throw PurserError.fromBody(ended.error)
}
