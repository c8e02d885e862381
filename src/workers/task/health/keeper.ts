import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { type Health, type TaskState, task, tasks as taskKind } from '../../../commands/task.ts'
import type { EventLog } from '../../../log/event-log.ts'
import { insist } from '../../../queue/insist.ts'
import type { Intake } from '../../../queue/intake.ts'
import { recordFact } from '../record-fact.ts'
import { endExec } from '../run-in-task.ts'
import type { Tasks } from '../tasks.ts'
import { actionOn } from './action.ts'
import { rememberedFailures, rememberFailures } from './failures.ts'
import { HEALTH_EXEC, type Probed, probeOnce } from './probe.ts'

export interface HealthKeeperOptions {
  log: EventLog
  intake: Intake
  tasks: Tasks
  logger: Logger
}

type Running = Extract<TaskState, { startedAt: string; execs: unknown }>

/**
 * Probes the tasks that have a health check, records when what the probes tell has changed, and asks for what is to be done then.
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
      else if (type === 'task.health-changed') this.#act(namespace, id)
      else if (type === 'task.exited' || type === 'task.deleted') this.#end(namespace, id)
    })
    for (const { namespace, id } of log.documents.list(taskKind)) {
      this.#begin(namespace, id)
      this.#act(namespace, id) // Recorded by a daemon that went down before it asked.
    }
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

  #act(namespace: string, id: string): void {
    const health = this.#runningOf(namespace, id)?.health
    const request = health && actionOn(namespace, id, health)
    if (request === undefined) return
    const { intake, logger } = this.#options
    const submit = () => intake.submit(request, { actor: 'purser:health' })
    insist('what a health check asks for', submit, { logger, signal: this.#stop.signal }).catch((err) => {
      if (!this.#stop.signal.aborted)
        logger.error({ err, namespace, id }, 'nothing is done about an unhealthy container')
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
      if (isFirst) {
        failures = rememberedFailures(live.bundle)
        // A daemon before this one may have gone in the middle of a probe.
        if (check.probe.type === 'exec') await endExec(live, HEALTH_EXEC)
      }
      isFirst = false
      const probed = await probeOnce(check.probe, { live, pid: state.pid }, check.timeoutMs, signal)
      const before = failures
      failures = probed.isWell ? 0 : failures + (isStarting() ? 0 : 1)
      if (failures !== before) rememberFailures(live.bundle, failures)
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
