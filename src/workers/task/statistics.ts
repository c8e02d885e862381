import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { containers } from '../../commands/container.ts'
import { type TaskState, tasks as taskKind } from '../../commands/task.ts'
import { interfaceBytesOf } from '../../host/interface-counters.ts'
import { cgroupPressure } from '../../host/pressure.ts'
import type { EventLog } from '../../log/event-log.ts'
import { mapLimited } from '../../model/concurrency.ts'
import type { ContainerUsage } from '../../model/container-usage.ts'
import { PurserError } from '../../model/errors.ts'
import { metricsJson, type TaskStats } from '../../shim/task-stats.ts'
import type { LiveTask } from './live-task.ts'
import type { Tasks } from './tasks.ts'

export interface StatisticsOptions {
  log: EventLog
  tasks: Tasks
  /** Where the kernel tells how long its processes have waited. */
  cgroupOf: (namespace: string, id: string) => string
  /** Between two samples; 0 for none. */
  everyMs: number
  /** How long a sample is kept. */
  keepMs: number
  logger: Logger
}

const READERS_MAX = 8

/** What tasks use: now, asked of their shims, and in the last minutes, from samples that are kept in memory. */
export class TaskStatistics implements AsyncDisposable {
  readonly #options: StatisticsOptions
  readonly #recent = new Map<LiveTask, Ring>()
  readonly #stop = new AbortController()
  readonly #sampling: Promise<void>

  constructor(options: StatisticsOptions) {
    this.#options = options
    this.#sampling = options.everyMs > 0 ? this.#sample() : Promise.resolve()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#sampling
  }

  /** @throws PurserError not_found, failed_precondition when it does not run; unimplemented where its shim tells nothing */
  async read(namespace: string, id: string, signal: AbortSignal) {
    const live = this.#require(namespace, id)
    const { usage, stats } = await this.#read(live, signal)
    return { ...usage, ...this.#pressureOf(live), metrics: metricsJson(stats.raw) }
  }

  /** Of all that run in a namespace; those that end meanwhile, or whose shim tells nothing, are left out. */
  async readAll(namespace: string, signal: AbortSignal): Promise<({ id: string } & ContainerUsage)[]> {
    const running = [...this.#options.tasks.all()].filter((live) => live.namespace === namespace && this.#runs(live))
    const found = await mapLimited(running, READERS_MAX, signal, async (live, within) => {
      try {
        const { usage } = await this.#read(live, within)
        return [{ id: live.id, ...usage, ...this.#pressureOf(live) }]
      } catch (error) {
        within.throwIfAborted()
        if (!(error instanceof PurserError)) throw error
        return []
      }
    })
    return found.flat().sort((a, b) => (a.id < b.id ? -1 : 1))
  }

  /** Samples since a moment, oldest first; of a task that was adopted after a restart, since then. */
  recent(namespace: string, id: string, sinceMs: number): ContainerUsage[] {
    return [...(this.#recent.get(this.#require(namespace, id))?.since(sinceMs) ?? [])]
  }

  #require(namespace: string, id: string): LiveTask {
    const { log, tasks } = this.#options
    if (log.documents.get(containers, namespace, id).status === 'absent') {
      throw new PurserError('not_found', `container ${id} is not in namespace ${namespace}`, { remedy: 'purser ps -a' })
    }
    const { status } = log.documents.get(taskKind, namespace, id)
    if (status === 'running' || status === 'paused') return tasks.require(namespace, id)
    throw new PurserError('failed_precondition', `container ${id} does not run`, { remedy: `purser start ${id}` })
  }

  #runs({ namespace, id }: LiveTask): boolean {
    return this.#stateOf(namespace, id).status === 'running'
  }

  #stateOf(namespace: string, id: string): TaskState {
    return this.#options.log.documents.get(taskKind, namespace, id)
  }

  #pressureOf({ namespace, id }: LiveTask): Pick<ContainerUsage, 'pressure'> {
    const pressure = cgroupPressure(this.#options.cgroupOf(namespace, id))
    return pressure === undefined ? {} : { pressure }
  }

  async #read(live: LiveTask, signal: AbortSignal): Promise<{ usage: ContainerUsage; stats: TaskStats }> {
    const { namespace, id, shim } = live
    const state = this.#stateOf(namespace, id)
    const made = this.#options.log.documents.get(containers, namespace, id)
    const sharesHosts = made.status === 'absent' || made.options.network === 'host'
    const [stats, through] = await Promise.all([
      shim.stats(signal),
      'pid' in state && !sharesHosts ? interfaceBytesOf(state.pid) : { receivedBytes: 0, sentBytes: 0 },
    ])
    const usage: ContainerUsage = {
      time: new Date().toISOString(),
      cpuNs: stats.cpuNs,
      memoryBytes: stats.memoryBytes,
      memoryWorkingSetBytes: stats.memoryWorkingSetBytes,
      ...(stats.memoryLimitBytes === undefined ? {} : { memoryLimitBytes: stats.memoryLimitBytes }),
      pids: stats.pids,
      ...(stats.pidsMax === undefined ? {} : { pidsMax: stats.pidsMax }),
      oomKills: stats.oomKills,
      readBytes: stats.readBytes,
      writtenBytes: stats.writtenBytes,
      ...through,
    }
    return { usage, stats }
  }

  async #sample(): Promise<void> {
    const { everyMs, keepMs, tasks, logger } = this.#options
    const { signal } = this.#stop
    const samplesMax = Math.max(2, Math.ceil(keepMs / everyMs))
    while (!signal.aborted) {
      await delay(everyMs, undefined, { signal, ref: false }).catch(() => {}) // The loop looks at the signal itself.
      const live = new Set(tasks.all())
      for (const known of this.#recent.keys()) if (!live.has(known)) this.#recent.delete(known)
      const running = [...live].filter((each) => this.#runs(each))
      await mapLimited(running, READERS_MAX, signal, async (each) => {
        try {
          const { usage } = await this.#read(each, signal)
          const ring = this.#recent.get(each) ?? new Ring(samplesMax)
          this.#recent.set(each, ring)
          ring.push(usage)
        } catch (err) {
          logger.debug({ err, namespace: each.namespace, id: each.id }, 'no sample of what a container uses')
        }
      }).catch(() => {}) // Only by the signal.
    }
  }
}

const COLUMNS = [
  'cpuNs',
  'memoryBytes',
  'memoryWorkingSetBytes',
  'memoryLimitBytes',
  'pids',
  'pidsMax',
  'oomKills',
  'readBytes',
  'writtenBytes',
  'receivedBytes',
  'sentBytes',
] as const satisfies (keyof ContainerUsage)[]
const WIDTH = COLUMNS.length + 1
const GROWN_BY = 16

/** The newest samples of one task, a hundred bytes each. */
class Ring {
  readonly #samplesMax: number
  #values = new Float64Array(0)
  #count = 0
  #next = 0

  constructor(samplesMax: number) {
    this.#samplesMax = samplesMax
  }

  push(usage: ContainerUsage): void {
    if (this.#next * WIDTH === this.#values.length && this.#next < this.#samplesMax) {
      const grown = new Float64Array(Math.min(this.#samplesMax, this.#next + GROWN_BY) * WIDTH)
      grown.set(this.#values)
      this.#values = grown
    }
    if (this.#next === this.#samplesMax) this.#next = 0
    const row = [Date.parse(usage.time), ...COLUMNS.map((name) => usage[name] ?? Number.NaN)]
    this.#values.set(row, this.#next * WIDTH)
    this.#next += 1
    this.#count = Math.min(this.#samplesMax, this.#count + 1)
  }

  *since(sinceMs: number): Generator<ContainerUsage> {
    for (let at = 0; at < this.#count; at++) {
      const index = (this.#next - this.#count + at + this.#samplesMax) % this.#samplesMax
      const [timeMs = 0, ...values] = this.#values.subarray(index * WIDTH, (index + 1) * WIDTH)
      if (timeMs < sinceMs) continue
      const known = COLUMNS.flatMap((name, column) => {
        const value = values[column] ?? Number.NaN
        return Number.isNaN(value) ? [] : [[name, value] as const]
      })
      yield { time: new Date(timeMs).toISOString(), ...Object.fromEntries(known) } as ContainerUsage
    }
  }
}
