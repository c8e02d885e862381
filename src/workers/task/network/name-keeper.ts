import type { Logger } from 'pino'
import { containers } from '../../../commands/container.ts'
import { tasks } from '../../../commands/task.ts'
import type { EventLog } from '../../../log/event-log.ts'
import type { StoredEvent } from '../../../model/event.ts'
import { keepNames } from '../../../network/hosts-file.ts'
import { networksOf } from '../../../oci/spec/network-mode.ts'
import type { TaskPaths } from '../paths.ts'
import { linesFor, membersOf } from './names.ts'

export interface NameKeeperOptions {
  log: EventLog
  paths: TaskPaths
  logger: Logger
}

/** After these, others are in a network than before, or by other names. */
const CHANGES = new Set(['task.network-attached', 'task.exited', 'container.renamed'])

/**
 * Has containers know each other by name: writes into the hosts file of each who is in its networks. What there is to be
 * written it reads from the log alone, so that a daemon that starts writes what one that was killed did not.
 *
 * A container is in the files of others before its process runs, for `task.network-attached` comes before that.
 */
export class NameKeeper {
  readonly #options: NameKeeperOptions
  readonly #listening: Disposable

  constructor(options: NameKeeperOptions) {
    this.#options = options
    const namespaces = new Set([...options.log.documents.list(tasks)].map(({ namespace }) => namespace))
    for (const namespace of namespaces) this.#write(namespace, () => true)
    this.#listening = options.log.listen((event) => this.#applied(event))
  }

  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]()
  }

  #applied({ type, namespace, subject, aggregate }: StoredEvent): void {
    if (!CHANGES.has(type)) return
    const made = this.#options.log.documents.get(containers, namespace, subject.slice(aggregate.length + 1))
    const changed = made.status === 'absent' ? [] : networksOf(made.options)
    if (changed.length > 0) this.#write(namespace, (network) => changed.includes(network))
  }

  #write(namespace: string, isChanged: (network: string) => boolean): void {
    const { log, paths, logger } = this.#options
    const members = membersOf(log.documents, namespace)
    for (const member of members) {
      if (!member.interfaces.some(({ network }) => isChanged(network))) continue
      try {
        keepNames(paths.nameFile(namespace, member.id, 'hosts'), linesFor(member, members))
      } catch (err) {
        logger.error({ err, namespace, id: member.id }, 'names could not be written into the hosts file of a container')
      }
    }
  }
}
