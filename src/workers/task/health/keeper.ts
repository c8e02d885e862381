import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { type Health, type TaskState, task, tasks as taskKind } from '../../../commands/task.ts'
import type { EventLog } from '../../../log/event-log.ts'
import { recordFact } from '../record-fact.ts'
import { endExec } from '../run-in-task.ts'
import type { Tasks } from '../tasks.ts'
import { HEALTH_EXEC, type Probed, probeOnce } from './probe.ts'

export interface HealthKeeperOptions {
  log: EventLog
  tasks: Tasks
  logger: Logger
}

type Running = Extract<TaskState, { startedAt: string; execs: unknown }>

/**
 * Probes the tasks that have a health check, and records when what the probes tell has changed. How often a probe has failed
 * is counted anew after a restart of the daemon.
 */
export class HealthKeeper {
  readonly #options: HealthKeeperOptions
  /** What ends the probes of a task. */
  readonly #watched = new Map<string, AbortController>()
  readonly #stop = new AbortController()
  readonly #listening: Disposable

  constructor(options: HealthKeeperOptions) {
    this.#options = options
    const { log } = options
    this.#listening = log.listen(({ type, namespace, subject, aggregate }) => {
      const id = subject.slice(aggregate.length + 1)
      if (type === 'task.started') this.#begin(namespace, id)
      else if (type === 'task.exited' || type === 'task.deleted') this.#end(namespace, id)
    })
    for (const { namespace, id } of log.documents.list(taskKind)) this.#begin(namespace, id)
  }

  [Symbol.dispose](): void {
    this.#stop.abort()
    this.#listening[Symbol.dispose]()
  }

  #begin(namespace: string, id: string): void {
    const state = this.#runningOf(namespace, id)
    if (state?.health === undefined) return
    this.#end(namespace, id)
    const own = new AbortController()
    this.#watched.set(`${namespace}/${id}`, own)
    const signal = AbortSignal.any([own.signal, this.#stop.signal])
    this.#watch(namespace, id, state, state.health, signal).catch((err) => {
      if (!signal.aborted) this.#options.logger.error({ err, namespace, id }, 'a health check broke off')
    })
  }

  #end(namespace: string, id: string): void {
    const key = `${namespace}/${id}`
    this.#watched.get(key)?.abort()
    this.#watched.delete(key)
  }

  async #watch(
    namespace: string,
    id: string,
    { startedAt }: Running,
    { check }: Health,
    signal: AbortSignal,
  ): Promise<void> {
    let failures = 0
    let isFirst = true
    for (;;) {
      const isStarting = () =>
        this.#runningOf(namespace, id)?.health?.status === 'starting' &&
        Date.now() < Date.parse(startedAt) + check.startPeriodMs
      await delay(isStarting() ? check.startIntervalMs : check.intervalMs, undefined, { signal, ref: false })
      const state = this.#runningOf(namespace, id)
      const live = this.#options.tasks.get(namespace, id)
      if (state?.status !== 'running' || live === undefined) continue // Frozen, or not adopted yet.
      // A daemon before this one may have gone in the middle of a probe.
      if (isFirst && check.probe.type === 'exec') await endExec(live, HEALTH_EXEC)
      isFirst = false
      const probed = await probeOnce(check.probe, { live, pid: state.pid }, check.timeoutMs, signal)
      failures = probed.isWell ? 0 : failures + (isStarting() ? 0 : 1)
      const status = probed.isWell ? 'healthy' : failures >= check.retries ? 'unhealthy' : undefined
      if (status !== undefined) await this.#record(namespace, id, startedAt, status, failures, probed, signal)
    }
  }

  async #record(
    namespace: string,
    id: string,
    startedAt: string,
    status: Health['status'],
    failures: number,
    { detail }: Probed,
    signal: AbortSignal,
  ): Promise<void> {
    const { log, logger } = this.#options
    const isDue = () => {
      const state = this.#runningOf(namespace, id)
      return state?.startedAt === startedAt && state.health?.status !== status
    }
    const fact = task.fact(id, 'task.health-changed', { status, failures, detail })
    await recordFact(log, fact, { namespace, by: 'health', isDue, logger, signal })
  }

  #runningOf(namespace: string, id: string): Running | undefined {
    const state: TaskState = this.#options.log.documents.get(taskKind, namespace, id)
    return state.status === 'running' || state.status === 'paused' ? state : undefined
  }
}
