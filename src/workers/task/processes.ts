import { containers } from '../../commands/container.ts'
import { readProcesses } from '../../host/processes.ts'
import type { View } from '../../model/aggregate.ts'
import { PurserError } from '../../model/errors.ts'
import type { ProcessInfo } from '../../model/process-info.ts'
import type { Tasks } from './tasks.ts'

/** All processes in a container's cgroup, those of execs too. */
export class TaskProcesses {
  readonly #view: View
  readonly #tasks: Tasks

  constructor(view: View, tasks: Tasks) {
    this.#view = view
    this.#tasks = tasks
  }

  /** @throws PurserError not_found, failed_precondition when it does not run */
  async list(namespace: string, id: string, signal: AbortSignal): Promise<ProcessInfo[]> {
    if (this.#view.get(containers, namespace, id).status === 'absent') {
      throw new PurserError('not_found', `container ${id} is not in namespace ${namespace}`, { remedy: 'purser ps -a' })
    }
    const live = this.#tasks.get(namespace, id)
    if (!live) {
      throw new PurserError('failed_precondition', `container ${id} does not run`, { remedy: `purser start ${id}` })
    }
    const pids = (await live.shim.pids(signal)).map(({ pid }) => pid)
    return (await readProcesses(pids, signal)).sort((a, b) => a.pid - b.pid)
  }
}
