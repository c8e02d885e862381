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
  readonly #ended: Ended[] = []
  #from = 0
  #order = 0
  /** Older ones that are steps of a command that goes on, by that command. */
  readonly #held = new Map<string, Ended[]>()
  #heldCount = 0
  /** Those of them whose command has ended since, oldest first. */
  readonly #freed: Ended[] = []

  constructor(documents: Documents, onForget: (fields: string[]) => void) {
    this.#documents = documents
    this.#onForget = onForget
  }

  /** Takes up documents that were loaded rather than folded. */
  loaded(): void {
    const ended = [...this.#documents.list(COMMANDS)].filter((entry) => entry.state.endedAt !== undefined)
    ended.sort((a, b) => a.version - b.version)
    for (const { namespace, id } of ended) this.#ended.push({ field: `${namespace}/${id}`, order: this.#order++ })
    this.#trim()
  }

  applied(event: StoredEvent): void {
    if (!OUTCOMES.has(event.type)) return
    const field = `${event.namespace}/${event.subject.slice('command/'.length)}`
    this.#ended.push({ field, order: this.#order++ })
    this.#free(field)
    this.#trim()
  }

  #trim(): void {
    let surplus = this.#heldCount + this.#freed.length + this.#ended.length - this.#from - ENDED_COMMANDS_MAX
    const fields: string[] = []
    while (surplus > 0) {
      const oldest = this.#freed.shift() ?? this.#ended[this.#from++]
      if (oldest === undefined) break
      const parent = this.#activeParentOf(oldest.field)
      if (parent !== undefined) {
        this.#held.set(parent, [...(this.#held.get(parent) ?? []), oldest])
        this.#heldCount += 1
        continue
      }
      fields.push(oldest.field)
      surplus -= 1
    }
    if (this.#from > ENDED_COMMANDS_MAX) {
      this.#ended.splice(0, this.#from)
      this.#from = 0
    }
    if (fields.length === 0) return
    for (const field of fields) this.#documents.forget('command', field)
    this.#onForget(fields)
  }

  /** Steps need not be kept for a command that has ended. */
  #free(parent: string): void {
    const steps = this.#held.get(parent)
    if (steps === undefined) return
    this.#held.delete(parent)
    this.#heldCount -= steps.length
    for (const step of steps) {
      const at = this.#freed.findIndex(({ order }) => order > step.order)
      this.#freed.splice(at < 0 ? this.#freed.length : at, 0, step)
    }
  }

  /** The command that this one is a step of, if that goes on. */
  #activeParentOf(field: string): string | undefined {
    const slash = field.indexOf('/')
    const namespace = field.slice(0, slash)
    const parentId = this.#documents.get(COMMANDS, namespace, field.slice(slash + 1)).command?.parentId
    if (parentId === undefined) return undefined
    const parent = this.#documents.get(COMMANDS, namespace, parentId)
    return parent.command !== undefined && parent.endedAt === undefined ? `${namespace}/${parentId}` : undefined
  }
}

interface Ended {
  /** NAMESPACE/ID */
  field: string
  order: number
}
