import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { container } from '../../commands/container.ts'
import { networkHolders } from '../../commands/network-holders.ts'
import { REBOOT, type TaskState, task } from '../../commands/task.ts'
import type { ExecProcess } from '../../commands/task-execs.ts'
import type { EventLog } from '../../log/event-log.ts'
import type { Networks } from '../../network/networks.ts'
import type { Shims } from '../../shim/shims.ts'
import { ProcessStdio } from '../../shim/stdio.ts'
import type { ContainerLogs } from './container-logs.ts'
import { type LiveTask, liveExec, removeBundle, shapeOfExec } from './live-task.ts'
import type { TaskPaths } from './paths.ts'
import { finishLog, reconnect } from './reconnect.ts'
import type { Tasks } from './tasks.ts'

export interface ReconcileOptions {
  log: EventLog
  tasks: Tasks
  shims: Shims
  paths: TaskPaths
  networks: Networks
  logs: ContainerLogs
  logger: Logger
  /** Of the machine, since a daemon was last here. */
  boot: 'same' | 'another'
  /** Aborts when the daemon stops. */
  signal: AbortSignal
}

/** How long one shim may take to answer. */
const ADOPT_MS = 5000

/** When for so long none has answered, those that are left hang: the daemon does not wait for them. */
const QUIET_MS = 750

/** How long it is waited for the end of one whose shim is gone. */
const LOSE_MS = 1000

const AGAIN_MS = 2000
/** Of one that goes on not to answer. */
const AGAIN_MS_MAX = 10_000

const REMOVE_MS = 30_000

/** Its shim removes what any runtime with runc's command line has made: the bundle says which one that was. */
const ANY_RUNTIME = 'runc'

type Outcome = 'adopted' | 'lost' | 'postponed'
type Count = Outcome | 'unknown'

/**
 * Brings log and host together after a start: tasks that run are adopted through their shims, ends that came meanwhile are
 * recorded, what is gone is recorded as lost. A task that was being created is its own command's affair.
 *
 * A shim that answers is no lost one: where something else is in the way, as a full disk, its container goes on, and is
 * adopted when that is over.
 *
 * All are asked at once. One that hangs does not hold up the start: it is adopted when it answers.
 *
 * @returns how many tasks were adopted, how many were lost, how many go on without us for now, and how many the log does not
 * know
 */
export async function reconcileTasks(options: ReconcileOptions): Promise<Record<Count, number>> {
  const { log, tasks, logger } = options
  const unknown = await removeUnknown(options)
  const counts = { adopted: 0, lost: 0, postponed: 0 }
  const progress = new Progress()
  const listed = [...log.documents.list<TaskState>(task)]
  const live = listed.filter(({ state }) => 'execs' in state).length
  const settled = listed.map(async ({ namespace, id, state }) => {
    if ('execs' in state) {
      const outcome = await adopt(options, namespace, id, state)
      counts[outcome] += 1
      progress.made()
      if (outcome === 'postponed') void adoptLater(options, namespace, id)
    } else if (state.status === 'stopped' && state.host === 'held') {
      await tasks.release(namespace, id, state.runtime).catch((err) => {
        logger.error({ err, namespace, id }, 'what an ended task holds could not be removed')
      })
    } else if (state.status === 'stopped') removeIfAsked(options, namespace, id, state.exitedAt)
  })
  await progress.until(Promise.all(settled))
  const { adopted, lost } = counts
  return { adopted, lost, postponed: live - adopted - lost, unknown }
}

/** Something that goes on, until it stops going on. */
class Progress {
  readonly #quiet = Promise.withResolvers<void>()
  #timer: NodeJS.Timeout | undefined

  made(): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#quiet.resolve(), QUIET_MS)
  }

  /** Fulfilled with `all`, or when there has been no progress for a while. */
  async until(all: Promise<unknown>): Promise<void> {
    this.made()
    await Promise.race([all, this.#quiet.promise])
    clearTimeout(this.#timer)
  }
}

/**
 * Ends what runs on the host and is no task in the log, as after a restoration that had to go on without the last events:
 * nobody could ask for its end by any other way.
 */
async function removeUnknown({ log, shims, paths, networks, logger }: ReconcileOptions): Promise<number> {
  let removed = 0
  const holders = networkHolders(log.documents)
  for (const { namespace, id, bundle } of await paths.bundles()) {
    if (holders.container(namespace, id)) continue
    const made = log.documents.get(container, namespace, id)
    const runtime = made.status === 'absent' ? ANY_RUNTIME : made.runtime
    try {
      await shims.removeRemains({ namespace, id, bundle, runtime, signal: AbortSignal.timeout(REMOVE_MS) })
      removeBundle(bundle)
      logger.warn({ namespace, id }, 'a task that the log does not know was ended and removed')
      removed += 1
    } catch (err) {
      logger.error({ err, namespace, id }, 'a task that the log does not know could not be removed')
    }
  }
  const detached = await networks.reconcile(holders)
  if (detached > 0) logger.warn({ detached }, 'networks of containers that are gone were given back')
  return removed
}

async function adopt(
  { tasks, logger, ...effects }: ReconcileOptions,
  namespace: string,
  id: string,
  state: Extract<TaskState, { execs: unknown }>,
): Promise<Outcome> {
  const { runtime } = state
  const made = effects.log.documents.get(container, namespace, id)
  const identity = { namespace, id, bundle: effects.paths.bundle(namespace, id), runtime }
  try {
    const within = AbortSignal.timeout(ADOPT_MS)
    const found = made.status === 'absent' ? undefined : await reconnect(effects, identity, made, within)
    if (found) {
      tasks.adopt(found.live)
      for (const [execId, exec] of Object.entries(state.execs)) {
        if (exec.status === 'running')
          adoptExec({ tasks, paths: effects.paths, logger }, found.live, execId, exec.process)
      }
      return 'adopted'
    }
    if (made.status !== 'absent' && effects.boot === 'same') {
      await finishLog(effects, namespace, id, made).catch((err) => {
        logger.warn({ err, namespace, id }, 'the last that a lost task has written is not in its log')
      })
    }
    const reason = effects.boot === 'another' ? REBOOT : 'no shim answered after the daemon started'
    const losing = tasks.lose(namespace, id, runtime, reason)
    // One that does not end holds up no other.
    await Promise.race([losing, delay(LOSE_MS, undefined, { ref: false })])
    losing.catch((err) => logger.error({ err, namespace, id }, 'a lost task could not be recorded as ended'))
    return 'lost'
  } catch (err) {
    logger.error({ err, namespace, id }, 'a task could not be adopted: it is tried again, and goes on meanwhile')
    return 'postponed'
  }
}

async function adoptLater(options: ReconcileOptions, namespace: string, id: string): Promise<void> {
  const { log, tasks, signal } = options
  for (let waitMs = AGAIN_MS; !signal.aborted; waitMs = Math.min(2 * waitMs, AGAIN_MS_MAX)) {
    await delay(waitMs, undefined, { signal, ref: false }).catch(() => {}) // The loop looks at the signal itself.
    const state: TaskState = log.documents.get(task, namespace, id)
    if (signal.aborted || !('execs' in state) || tasks.get(namespace, id)) return
    if ((await adopt(options, namespace, id, state)) !== 'postponed') return
  }
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
