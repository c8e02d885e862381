import type { Kind } from '../model/aggregate.ts'
import type { StoredEvent } from '../model/event.ts'
import type { Documents } from './documents.ts'

/** Ended commands whose documents are kept; older ones are read from the log. */
export const ENDED_COMMANDS_MAX = 5000

/** What is looked at of a command's state. */
const COMMANDS: Kind<{ endedAt?: string; command?: { parentId?: string } }> = { name: 'command', initial: {} }
const OUTCOMES = new Set(['command.succeeded', 'command.failed', 'command.cancelled'])

/**
 * Keeps the documents of ended commands from growing without bound: the oldest leave when newer ones end, but no step of a
 * command that goes on, which after a restart asks for it again. A function of the log alone, so that a rebuild keeps the
 * same ones.
 */
export class CommandRetention {
  readonly #documents: Documents
  readonly #onForget: (fields: string[]) => void
  /** Ended commands, oldest first, from `#from` on. */
  readonly #ended: string[] = []
  #from = 0
  /** Older ones that were steps of a command that goes on. */
  #kept: string[] = []

  constructor(documents: Documents, onForget: (fields: string[]) => void) {
    this.#documents = documents
    this.#onForget = onForget
  }

  /** Takes up documents that were loaded rather than folded. */
  loaded(): void {
    const ended = [...this.#documents.list(COMMANDS)].filter((entry) => entry.state.endedAt !== undefined)
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
    const surplus = this.#kept.length + this.#ended.length - this.#from - ENDED_COMMANDS_MAX
    if (surplus <= 0) return
    const fields: string[] = []
    const kept: string[] = []
    const look = (field: string) => {
      if (fields.length < surplus && !this.#isStepOfActive(field)) fields.push(field)
      else kept.push(field)
    }
    for (const field of this.#kept) look(field)
    while (fields.length < surplus && this.#from < this.#ended.length) look(this.#ended[this.#from++] ?? '')
    this.#kept = kept
    if (this.#from > ENDED_COMMANDS_MAX) {
      this.#ended.splice(0, this.#from)
      this.#from = 0
    }
    if (fields.length === 0) return
    for (const field of fields) this.#documents.forget('command', field)
    this.#onForget(fields)
  }

  #isStepOfActive(field: string): boolean {
    const slash = field.indexOf('/')
    const namespace = field.slice(0, slash)
    const step = this.#documents.get(COMMANDS, namespace, field.slice(slash + 1)).command
    const parent = step?.parentId && this.#documents.get(COMMANDS, namespace, step.parentId)
    return parent !== undefined && parent !== '' && parent.command !== undefined && parent.endedAt === undefined
  }
}
