import type { Logger } from 'pino'
import { execOf, type TaskState, task } from '../../commands/task.ts'
import type { Fact } from '../../model/aggregate.ts'
import type { CommandRequest } from '../../model/command.ts'
import { whileWanted } from '../../model/concurrency.ts'
import { errorCodeOf } from '../../model/errors.ts'
import type { TaskExit } from '../../shim/shim.ts'
import type { LiveExec, LiveTask } from './live-task.ts'
import type { PendingStarts } from './pending-starts.ts'

export interface ExecWatcherOptions {
  starts: PendingStarts
  /** Waits for the end of an exec. */
  exitOf(live: LiveTask, execId: string): Promise<TaskExit>
  stateOf(namespace: string, id: string): TaskState
  /** Writes a fact for as long as it is due. */
  record(namespace: string, fact: Fact, isDue: () => boolean): Promise<void>
  /** Has a command carried out, whatever restarts. */
  submit(request: CommandRequest & { namespace: string }): void
  /** Aborts when the daemon stops. */
  signal: AbortSignal
  logger: Logger
}

const DELETE_MS = 60_000
const OUTPUT_END_MS = 5000
/** How long the output of an ended exec waits for a client, and of how many in one task. */
const UNREAD_MS = 60_000
const UNREAD_MAX = 32
const TIMER_MS_MAX = 2 ** 31 - 1
const KILLED = 137

/** Records how execs end, kills those whose time is up, and gives back what they held. */
export class ExecWatcher {
  readonly #options: ExecWatcherOptions
  readonly #over = new WeakMap<LiveTask, AbortSignal>()
  readonly #unread = new WeakMap<LiveTask, Set<() => void>>()

  constructor(options: ExecWatcherOptions) {
    this.#options = options
  }

  async watch(live: LiveTask, execId: string, process: LiveExec): Promise<void> {
    const { namespace, id, shim } = live
    const { starts, record, stateOf, signal, logger } = this.#options
    try {
      const exit = await this.#exitOf(live, execId)
      await starts.settled(namespace, id, execId, signal)
      const fact = task.fact(id, 'task.exec-exited', await this.#dataOf(live, execId, process, exit))
      await record(namespace, fact, () => execOf(stateOf(namespace, id), execId)?.status === 'running')
      await shim.delete({ execId }, AbortSignal.timeout(DELETE_MS)).catch(ignoreGone)
      await whileWanted(process.output.ended, this.#overOf(live)).catch(() => {}) // Over with the whole task.
      await this.#untilRead(live, process)
      await process.stdio.remove()
      live.execs.delete(execId)
    } catch (err) {
      if (!signal.aborted) logger.debug({ err, id, execId }, 'exec no longer watched')
    }
  }

  /** Kills it when its time is up, also where that was while no daemon ran. */
  async #exitOf(live: LiveTask, execId: string): Promise<TaskExit> {
    const { namespace, id } = live
    const { signal, starts, stateOf, submit, exitOf } = this.#options
    const ended = new AbortController()
    let timer: NodeJS.Timeout | undefined
    const arm = async () => {
      await starts.settled(namespace, id, execId, AbortSignal.any([signal, ended.signal]))
      const exec = execOf(stateOf(namespace, id), execId)
      if (exec?.status !== 'running' || exec.process.timeoutMs === undefined || ended.signal.aborted) return
      const { startedAt, process } = exec
      const leftMs = Date.parse(startedAt) + (process.timeoutMs ?? 0) - Date.now()
      const kill = () =>
        submit({
          type: 'task.kill',
          subject: id,
          namespace,
          payload: { signal: 'SIGKILL', target: 'all', execId },
          idempotencyKey: `timeout/${id}/${execId}/${startedAt}`,
        })
      timer = setTimeout(kill, Math.min(Math.max(0, leftMs), TIMER_MS_MAX)).unref()
    }
    arm().catch(() => {}) // Only by the signals.
    try {
      return await exitOf(live, execId)
    } finally {
      ended.abort()
      clearTimeout(timer)
    }
  }

  async #dataOf({ namespace, id }: LiveTask, execId: string, { output }: LiveExec, exit: TaskExit) {
    const exec = execOf(this.#options.stateOf(namespace, id), execId)
    const exitedAt = exit.exitedAt ?? new Date().toISOString()
    const { timeoutMs, outputBytesMax } = exec?.process ?? {}
    const startedAt = exec?.status === 'running' ? exec.startedAt : exitedAt
    const isLate = timeoutMs !== undefined && Date.parse(exitedAt) >= Date.parse(startedAt) + timeoutMs
    if (outputBytesMax !== undefined)
      await whileWanted(output.ended, AbortSignal.timeout(OUTPUT_END_MS)).catch(() => {}) // By others.
    return {
      execId,
      exitCode: exit.exitCode,
      exitedAt,
      ...(isLate && exit.exitCode === KILLED ? { reason: 'timeout' } : {}),
      ...(output.droppedBytes > 0 ? { droppedBytes: output.droppedBytes } : {}),
    }
  }

  /** A client may attach after a short process has ended: its output is kept until one has, but not for ever, and not of all. */
  async #untilRead(live: LiveTask, process: LiveExec): Promise<void> {
    const given = new AbortController()
    const giveUp = () => given.abort()
    const unread = this.#unread.get(live) ?? new Set()
    this.#unread.set(live, unread)
    unread.add(giveUp)
    const [oldest] = unread
    if (unread.size > UNREAD_MAX) oldest?.()
    const timer = setTimeout(giveUp, UNREAD_MS).unref()
    const over = this.#overOf(live)
    over.addEventListener('abort', giveUp, { once: true })
    try {
      if (!over.aborted) await whileWanted(process.output.subscribed, given.signal)
    } catch {
      // Nobody came for it.
    } finally {
      clearTimeout(timer)
      over.removeEventListener('abort', giveUp)
      unread.delete(giveUp)
    }
  }

  /**
   * Aborts when the output of the task's first process has ended. A signal, whose listeners go again: each race with a promise
   * that lasts as long as the container would stay with it.
   */
  #overOf(live: LiveTask): AbortSignal {
    const known = this.#over.get(live)
    if (known) return known
    const over = new AbortController()
    void live.output.ended.then(() => over.abort())
    this.#over.set(live, over.signal)
    return over.signal
  }
}

function ignoreGone(error: unknown): void {
  const code = errorCodeOf(error)
  if (code !== 'not_found' && code !== 'unavailable') throw error
}
