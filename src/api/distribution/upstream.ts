import { command, isActive } from '../../commands/command.ts'
import type { EventLog } from '../../log/event-log.ts'
import { errorCodeOf } from '../../model/errors.ts'
import { formatReference, type ImageReference } from '../../oci/reference.ts'
import type { Intake } from '../../queue/intake.ts'

/** A client that waits longer than this has given up. */
const PULL_MS_MAX = 10 * 60 * 1000

/** Brings what is missing, by the same command as anybody's; whoever asks for it meanwhile waits for that. */
export class Upstream {
  readonly #log: EventLog
  readonly #intake: Intake
  readonly #namespace: string
  readonly #underWay = new Map<string, Promise<boolean>>()

  constructor(log: EventLog, intake: Intake, namespace: string) {
    this.#log = log
    this.#intake = intake
    this.#namespace = namespace
  }

  /** @returns whether it is here now */
  async bring(reference: ImageReference, actor: string, signal: AbortSignal): Promise<boolean> {
    const subject = formatReference(reference)
    const known = this.#underWay.get(subject)
    if (known) return await known
    // Two nodes that are each other's mirrors would wait for each other: what is being pulled is not here.
    if (this.#isPulled(subject)) return false
    const pulling = this.#pull(subject, actor, signal).finally(() => this.#underWay.delete(subject))
    this.#underWay.set(subject, pulling)
    return await pulling
  }

  async #pull(subject: string, actor: string, signal: AbortSignal): Promise<boolean> {
    const within = AbortSignal.any([signal, AbortSignal.timeout(PULL_MS_MAX)])
    try {
      const ended = await this.#intake.execute(
        { type: 'image.pull', subject, namespace: this.#namespace, payload: {} },
        { actor, surface: 'registry' },
        within,
      )
      return ended.status === 'succeeded'
    } catch (error) {
      if (within.aborted || errorCodeOf(error) === 'unavailable') throw error
      return false
    }
  }

  #isPulled(subject: string): boolean {
    for (const { state } of this.#log.documents.list(command, this.#namespace)) {
      if (isActive(state) && state.command.type === 'image.pull' && state.command.subject === subject) return true
    }
    return false
  }
}
