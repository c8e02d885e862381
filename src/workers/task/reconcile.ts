import type { Logger } from 'pino'
import { container } from '../../commands/container.ts'
import { type ExecProcess, type TaskState, task } from '../../commands/task.ts'
import type { EventLog } from '../../log/event-log.ts'
import { errorCodeOf } from '../../model/errors.ts'
import type { Shims } from '../../shim/shims.ts'
import { ProcessStdio } from '../../shim/stdio.ts'
import { type LiveTask, liveExec, shapeOfExec } from './live-task.ts'
import type { TaskPaths } from './paths.ts'
import { reconnect } from './reconnect.ts'
import type { Tasks } from './tasks.ts'

export interface ReconcileOptions {
  log: EventLog
  tasks: Tasks
  shims: Shims
  paths: TaskPaths
  logger: Logger
}

/** How long one shim may take to answer; it holds up no other. */
const ADOPT_MS = 5000

/**
 * Brings log and host together after a start: tasks that run are adopted through their shims, ends that came meanwhile are
 * recorded, what is gone is recorded as lost. A task that was being created is its own command's affair.
 *
 * @returns how many tasks were adopted, and how many were lost
 */
export async function reconcileTasks(options: ReconcileOptions): Promise<{ adopted: number; lost: number }> {
  const { log, tasks } = options
  const outcomes = await Promise.all(
    [...log.documents.list<TaskState>(task)].map(async ({ namespace, id, state }) => {
      switch (state.status) {
        case 'created':
        case 'running':
        case 'paused':
          return await adopt(options, namespace, id, state)
        case 'stopped':
          if (state.host === 'held') await tasks.release(namespace, id, state.runtime)
          else removeIfAsked(options, namespace, id, state.exitedAt)
          return undefined
        default:
          return undefined
      }
    }),
  )
  return {
    adopted: outcomes.filter((outcome) => outcome === 'adopted').length,
    lost: outcomes.filter((outcome) => outcome === 'lost').length,
  }
}

async function adopt(
  { tasks, logger, ...effects }: ReconcileOptions,
  namespace: string,
  id: string,
  state: Extract<TaskState, { execs: unknown }>,
): Promise<'adopted' | 'lost'> {
  const { runtime } = state
  const made = effects.log.documents.get(container, namespace, id)
  const identity = { namespace, id, bundle: effects.paths.bundle(namespace, id), runtime }
  try {
    const found =
      made.status === 'absent'
        ? undefined
        : await reconnect(effects, identity, made, logger, AbortSignal.timeout(ADOPT_MS))
    if (found) {
      tasks.adopt(found.live)
      for (const [execId, exec] of Object.entries(state.execs)) {
        if (exec.status === 'running')
          adoptExec({ tasks, paths: effects.paths, logger }, found.live, execId, exec.process)
      }
      return 'adopted'
    }
    await tasks.lose(namespace, id, runtime, 'no shim answered after the daemon started')
  } catch (err) {
    if (errorCodeOf(err) === 'unavailable') throw err
    logger.error({ err, namespace, id }, 'a task could not be adopted')
    await tasks.lose(namespace, id, runtime, err instanceof Error ? err.message : String(err))
  }
  return 'lost'
}

/** An exec that cannot be adopted does not take its container along. */
function adoptExec(
  { tasks, paths, logger }: Pick<ReconcileOptions, 'tasks' | 'paths' | 'logger'>,
  live: LiveTask,
  execId: string,
  process: ExecProcess,
): void {
  const { namespace, id } = live
  try {
    const stdio = ProcessStdio.attach(paths.stdio(namespace, id, execId), shapeOfExec(process))
    tasks.adoptExec(live, execId, liveExec(stdio, process))
  } catch (err) {
    logger.error({ err, namespace, id, execId }, 'an exec could not be adopted')
  }
}

/** The daemon may have stopped between the exit and the removal that was asked for. */
function removeIfAsked({ log, tasks }: ReconcileOptions, namespace: string, id: string, exitedAt: string): void {
  const made = log.documents.get(container, namespace, id)
  if (made.status === 'present' && made.onExit === 'remove') tasks.removeContainer(namespace, id, exitedAt)
}
