import type { StoredEvent } from '../model/event.ts'
import type { Documents } from './documents.ts'

/** Ended commands whose documents are kept; older ones are read from the log. */
export const ENDED_COMMANDS_MAX = 5000

const OUTCOMES = new Set(['command.succeeded', 'command.failed', 'command.cancelled'])

/**
 * Keeps the documents of ended commands from growing without bound: the oldest leave when newer ones end. A function of
 * the log alone, so that a rebuild keeps the same ones.
 */
export class CommandRetention {
  readonly #documents: Documents
  readonly #onForget: (fields: string[]) => void
  readonly #ended: string[] = []

  constructor(documents: Documents, onForget: (fields: string[]) => void) {
    this.#documents = documents
    this.#onForget = onForget
  }

  /** Takes up documents that were loaded rather than folded. */
  loaded(): void {
    const ended = [...this.#documents.list<{ endedAt?: string }>({ name: 'command', initial: {} })].filter(
      (entry) => entry.state.endedAt !== undefined,
    )
    ended.sort((a, b) => a.version - b.version)
    this.#ended.push(...ended.map((entry) => `${entry.namespace}/${entry.id}`))
    this.#trim()
  }

  applied(event: StoredEvent): void {
    if (!OUTCOMES.has(event.type)) return
    this.#ended.push(`${event.namespace}/${event.subject.slice('command/'.length)}`)
    this.#trim()
  }

  #trim(): void {
    const surplus = this.#ended.length - ENDED_COMMANDS_MAX
    if (surplus <= 0) return
    const fields = this.#ended.splice(0, surplus)
    for (const field of fields) this.#documents.forget('command', field)
    this.#onForget(fields)
  }
}
