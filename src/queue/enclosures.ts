import type { EventLog } from '../log/event-log.ts'
import { PurserError } from '../model/errors.ts'
import type { Secret } from '../model/secret.ts'

const ENCLOSURES_MAX = 10_000

/**
 * What comes with a request and is written nowhere: credentials. It is there for the command and its steps until they have
 * ended, and gone with the process.
 */
export class Enclosures {
  readonly #byCommand = new Map<string, Secret>()

  constructor(log: EventLog) {
    log.listen(({ type, subject }) => {
      if (/^command\.(?:succeeded|failed|cancelled)$/.test(type))
        this.#byCommand.delete(subject.slice('command/'.length))
    })
  }

  /** @throws PurserError resource_exhausted when there are too many already */
  put(commandId: string, secret: Secret): void {
    if (this.#byCommand.size >= ENCLOSURES_MAX) {
      throw new PurserError(
        'resource_exhausted',
        `${ENCLOSURES_MAX} commands with credentials of their own are active`,
        {
          remedy: 'wait until some have ended, or configure the credentials on the node',
        },
      )
    }
    this.#byCommand.set(commandId, secret)
  }

  /** @param commandId the outermost command of the chain */
  of(commandId: string): Secret | undefined {
    return this.#byCommand.get(commandId)
  }

  drop(commandId: string): void {
    this.#byCommand.delete(commandId)
  }
}
