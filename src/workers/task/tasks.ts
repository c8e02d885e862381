import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { command } from '../../commands/command.ts'
import { containers } from '../../commands/container.ts'
import { namespace } from '../../commands/namespace.ts'
import { execOf, type StuckEvidence, type TaskState, task, tasks as taskKind } from '../../commands/task.ts'
import { removeCgroups } from '../../host/cgroups.ts'
import { KernelLog, type OomVictim } from '../../host/kernel-log.ts'
import { pidsOf } from '../../host/kill-cgroup.ts'
import { oomKillsOf } from '../../host/oom-kills.ts'
import { holdersOf, mountsBeneath, survivorsOf } from '../../host/survivors.ts'
import type { EventLog } from '../../log/event-log.ts'
import type { Fact } from '../../model/aggregate.ts'
import type { CommandRequest } from '../../model/command.ts'
import { errorCodeOf, PurserError } from '../../model/errors.ts'
import type { Networks } from '../../network/networks.ts'
import { parseSignal } from '../../oci/signals.ts'
import { insist } from '../../queue/insist.ts'
import type { Intake } from '../../queue/intake.ts'
import type { TaskExit } from '../../shim/shim.ts'
import type { Shims } from '../../shim/shims.ts'
import type { TaskEvent } from '../../shim/task-events.ts'
import { connectAnew } from './connect-anew.ts'
import { ExecWatcher } from './exec-watch.ts'
import { Exits } from './exits.ts'
import { detach, type LiveExec, type LiveTask, removeBundle } from './live-task.ts'
import type { TaskPaths } from './paths.ts'
import { PendingStarts } from './pending-starts.ts'
import { recordFact } from './record-fact.ts'

export interface TasksOptions {
  log: EventLog
  intake: Intake
  shims: Shims
  paths: TaskPaths
  networks: Networks
  logger: Logger
}

const RELEASE_MS = 60_000
const OUTPUT_END_MS = 5000
/** How often it is looked whether a stuck task is still there. */
const STUCK_POLL_MS = 1000
const KILLED = 137
const SIGKILL = 9
const TIMEOUT = 'purser:timeout'

const VICTIM_LOOKS_MAX = 5
const VICTIM_LOOK_MS = 20

/**
 * The tasks whose shims this daemon is connected to. It records what happens to them by itself: exits, kills for lack of
 * memory, shims that die; and gives the host back what an ended task held.
 */
export class Tasks {
  readonly #options: TasksOptions
  readonly #live = new Map<string, LiveTask>()
  readonly #deadlines = new Map<string, NodeJS.Timeout>()
  /** Tasks that were killed because their time was up. */
  readonly #timedOut = new Set<string>()
  readonly #stop = new AbortController()
  readonly #kernelLog = new KernelLog()
  /** Starts that are under way: an exit is recorded after them. */
  readonly starts: PendingStarts
  readonly #exits: Exits<LiveTask>
  readonly #execs: ExecWatcher
  readonly #releasing = new Map<string, Promise<void>>()
  readonly #losing = new Map<string, Promise<void>>()
  readonly #reconnecting = new Map<string, Promise<boolean>>()
  /** Tasks that are waited for though nothing ends them. */
  readonly #stuck = new Set<string>()
  /** Tasks whose shims were killed here. */
  readonly #shimKilled = new Set<string>()

  constructor(options: TasksOptions) {
    this.#options = options
    this.starts = new PendingStarts(options.log)
    this.#exits = new Exits<LiveTask>(options.logger, (live) => this.#reconnect(live))
    this.#execs = new ExecWatcher({
      starts: this.starts,
      exitOf: (live, execId) => this.#exits.of(live, execId, this.#stop.signal),
      stateOf: (namespace, id) => this.#stateOf(namespace, id),
      record: (namespace, fact, isDue) => this.#record(namespace, fact, isDue),
      submit: (request) => this.#submitTimeout(request),
      signal: this.#stop.signal,
      logger: options.logger,
    })
    options.log.listen((event) => {
      const id = event.subject.slice('task/'.length)
      if (event.type === 'task.started') this.#watchTimeout(event.namespace, id)
    })
  }

  /** @throws PurserError unavailable when the daemon is not connected to the task's shim */
  require(namespace: string, id: string): LiveTask {
    const live = this.#live.get(`${namespace}/${id}`)
    if (live) return live
    throw new PurserError('unavailable', `the shim of container ${id} is not connected`, {
      remedy: 'try again shortly',
    })
  }

  get(namespace: string, id: string): LiveTask | undefined {
    return this.#live.get(`${namespace}/${id}`)
  }

  all(): Iterable<LiveTask> {
    return this.#live.values()
  }

  /** Takes over a task that was created here, or found running. */
  adopt(live: LiveTask): void {
    this.#live.set(`${live.namespace}/${live.id}`, live)
    this.#watchTimeout(live.namespace, live.id)
    void this.#watch(live)
  }

  /** Takes over an exec; its exit is recorded. */
  adoptExec(live: LiveTask, execId: string, process: LiveExec): void {
    live.execs.set(execId, process)
    void this.#execs.watch(live, execId, process)
  }

  /** An event from a shim: of those, exits and kills for want of memory count. */
  async onShimEvent(event: TaskEvent): Promise<void> {
    const state = this.#stateOf(event.namespace, event.containerId)
    if (event.topic === '/tasks/exit') {
      const live = this.get(event.namespace, event.containerId)
      const exec = event.execId === undefined ? undefined : execOf(state, event.execId)
      const pid = event.execId === undefined && 'pid' in state ? state.pid : exec?.status === 'running' ? exec.pid : 0
      // Not waited for: the shim sends its next event when this one is taken.
      if (live) void this.#exits.consider(event, live, pid, this.#stop.signal).catch(() => {}) // The daemon stops.
    }
    if (event.topic !== '/tasks/oom') return
    if (state.status !== 'running' && state.status !== 'paused') return
    const victim = await this.#victimOf(this.#options.paths.cgroup(event.namespace, event.containerId))
    const data = victim === undefined ? {} : { victim }
    await this.#record(event.namespace, task.fact(event.containerId, 'task.oom', data), () => true)
  }

  /** The kernel tells of a lack of memory before it logs whom it has ended. */
  async #victimOf(cgroup: string): Promise<OomVictim | undefined> {
    for (let looks = 0; looks < VICTIM_LOOKS_MAX && !this.#stop.signal.aborted; looks += 1) {
      const victim = this.#kernelLog.takeVictim(cgroup)
      if (victim !== undefined) return victim
      await delay(VICTIM_LOOK_MS, undefined, { ref: false })
    }
    return undefined
  }

  /** Stops watching; shims and containers go on. */
  async stop(): Promise<void> {
    this.#stop.abort(new PurserError('cancelled', 'the daemon stops'))
    for (const timer of this.#deadlines.values()) clearTimeout(timer)
    this.#kernelLog[Symbol.dispose]()
    await Promise.allSettled([...this.#live.values()].map(detach))
    this.#live.clear()
    // Not after each task: the runtime may be making another cgroup in there.
    const { log, paths } = this.#options
    for (const { id } of log.documents.list(namespace)) await removeCgroups(paths.cgroupParents(id))
  }

  /**
   * Ends the shim of a task, and with it the connection: the task is lost then, which is recorded. One in which others run
   * too is left to them.
   */
  async killShim(namespace: string, id: string, runtime: string, signal: AbortSignal): Promise<void> {
    const { shims, paths } = this.#options
    if (this.get(namespace, id)?.isGrouped) return
    this.#shimKilled.add(`${namespace}/${id}`)
    await shims.killShim({ namespace, id, bundle: paths.bundle(namespace, id), runtime, signal })
  }

  /**
   * Records how a task ended whose shim cannot be asked any more, and removes what is left of it. One with a process that
   * nothing ends has not ended: what holds it is recorded, and it is looked after until it is gone.
   */
  async lose(namespace: string, id: string, runtime: string, reason: string, withinMs = RELEASE_MS): Promise<void> {
    const key = `${namespace}/${id}`
    const under = this.#losing.get(key) ?? this.#lose(namespace, id, runtime, reason, withinMs)
    this.#losing.set(key, under)
    try {
      await under
    } finally {
      this.#losing.delete(key)
    }
  }

  async #lose(namespace: string, id: string, runtime: string, reason: string, withinMs: number): Promise<void> {
    const { shims, paths, logger } = this.#options
    logger.warn({ namespace, id, reason }, 'task lost')
    const bundle = paths.bundle(namespace, id)
    const signal = AbortSignal.timeout(withinMs)
    await shims.removeRemains({ namespace, id, bundle, runtime, signal }).catch((err) => {
      logger.error({ err, namespace, id }, 'what a lost task left could not be removed')
    })
    const evidence = whatHolds(paths.cgroup(namespace, id), bundle)
    if (evidence.processes.length > 0) {
      await this.#recordStuck(namespace, id, evidence)
      void this.#loseLater(namespace, id, runtime, reason)
      return
    }
    const live = this.get(namespace, id)
    if (live) await this.#outputEnds(live)
    live?.shim.disconnect() // It would be asked in vain to end what it has not ended.
    const exit = { exitCode: KILLED, exitedAt: new Date().toISOString(), reason: `lost: ${reason}`, oomKills: 0 }
    await this.#recordExit(namespace, id, () => task.fact(id, 'task.exited', exit))
    await this.release(namespace, id, runtime)
  }

  async #loseLater(namespace: string, id: string, runtime: string, reason: string): Promise<void> {
    const { paths, logger } = this.#options
    const key = `${namespace}/${id}`
    if (this.#stuck.has(key)) return
    this.#stuck.add(key)
    const isThere = () => survivorsOf(pidsOf(paths.cgroup(namespace, id))).length > 0
    try {
      do await delay(STUCK_POLL_MS, undefined, { signal: this.#stop.signal, ref: false })
      while (isThere())
    } catch {
      return // The daemon stops: the next one looks after it.
    } finally {
      this.#stuck.delete(key)
    }
    await this.lose(namespace, id, runtime, reason).catch((err) => {
      logger.error({ err, namespace, id }, 'a stuck task could not be recorded as ended')
    })
  }

  /** Gives back what an ended task holds on the host: container, shim, mounts, cgroup, bundle, network. */
  async release(namespace: string, id: string, runtime: string): Promise<void> {
    const key = `${namespace}/${id}`
    if (!this.#isHeld(namespace, id)) return
    const under = this.#releasing.get(key) ?? this.#release(namespace, id, runtime)
    this.#releasing.set(key, under)
    try {
      await under
    } finally {
      this.#releasing.delete(key)
    }
  }

  async #release(namespace: string, id: string, runtime: string): Promise<void> {
    const { shims, paths, networks, logger } = this.#options
    const live = this.get(namespace, id)
    const bundle = paths.bundle(namespace, id)
    const signal = AbortSignal.timeout(RELEASE_MS)
    const identity = { namespace, id, bundle, runtime, signal }
    try {
      if (live && (await endThroughShim(live, signal, logger))) await shims.removeTraces(identity)
      else await shims.removeRemains(identity)
      removeBundle(bundle)
    } catch (error) {
      const evidence = whatHolds(paths.cgroup(namespace, id), bundle)
      if (evidence.processes.length + evidence.mounts.length > 0) await this.#recordStuck(namespace, id, evidence)
      throw error
    }
    await networks.detach({ namespace, id })
    this.#live.delete(`${namespace}/${id}`)
    await this.#record(namespace, task.fact(id, 'task.released', {}), () => this.#isHeld(namespace, id))
    this.#removeIfAsked(namespace, id)
  }

  /** Another connection to a shim that lives: what ended may have been the connection alone. @returns false when it is gone */
  #reconnect(live: LiveTask): Promise<boolean> {
    const key = `${live.namespace}/${live.id}`
    const under =
      this.#reconnecting.get(key) ?? this.#connectAnew(live).finally(() => void this.#reconnecting.delete(key))
    this.#reconnecting.set(key, under)
    return under
  }

  async #connectAnew(live: LiveTask): Promise<boolean> {
    const { shims, logger } = this.#options
    const isWanted = () => live.shim.isClosed && this.get(live.namespace, live.id) === live
    const shim = await connectAnew(shims, live, { isWanted, logger, signal: this.#stop.signal })
    if (shim) live.shim = shim
    return !live.shim.isClosed
  }

  async #watch(live: LiveTask): Promise<void> {
    const { namespace, id, runtime } = live
    const { logger } = this.#options
    try {
      const exit = await this.#exits.of(live, undefined, this.#stop.signal)
      await this.starts.settled(namespace, id, undefined, this.#stop.signal)
      await this.#outputEnds(live)
      const state = this.#stateOf(namespace, id)
      if (state.status === 'absent' || state.status === 'stopped') return
      await this.#recordExit(namespace, id, () => this.#exitFact(namespace, id, exit))
      await this.release(namespace, id, runtime)
    } catch (err) {
      if (this.#stop.signal.aborted || this.get(namespace, id) !== live) return
      const code = errorCodeOf(err)
      if (code === 'unavailable' || code === 'not_found') {
        const isOurs = this.#shimKilled.delete(`${namespace}/${id}`)
        const reason = isOurs ? 'it did not end when it was killed, nor did its shim let go of it' : 'its shim died'
        await this.lose(namespace, id, runtime, reason).catch((lost) => logger.error({ err: lost, id }, 'task lost'))
      } else logger.error({ err, namespace, id }, 'an exit could not be recorded')
    }
  }

  /** So that whoever learns of an exit finds all output in the log; a grandchild that keeps the pipe open is not waited for. */
  async #outputEnds(live: LiveTask): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, OUTPUT_END_MS)
    await Promise.race([live.output.ended, promise])
    clearTimeout(timer)
  }

  #exitFact(namespace: string, id: string, exit: TaskExit): Fact {
    const state = this.#stateOf(namespace, id)
    // The shim's event may come later, or was sent while no daemon was there: the kernel has counted.
    const counted = oomKillsOf(this.#options.paths.cgroup(namespace, id))
    const oomKills = Math.max('oomKills' in state ? state.oomKills : 0, counted)
    const killer = this.#killerOf(namespace, state)
    const isTimeout = killer === TIMEOUT || this.#timedOut.has(`${namespace}/${id}`)
    // An earlier kill of some other process in it is not what ended it when somebody else did.
    const isOom = oomKills > 0 && exit.exitCode === KILLED && killer === undefined
    // CRIU ends by SIGKILL what it has written to disk.
    const isCheckpoint =
      'checkpointing' in state && state.checkpointing?.processes === 'end' && exit.exitCode === KILLED
    const why = isTimeout ? 'timeout' : isCheckpoint && killer === undefined ? 'checkpoint' : isOom ? 'oom' : undefined
    return task.fact(id, 'task.exited', {
      exitCode: exit.exitCode & 0xff,
      exitedAt: exit.exitedAt ?? new Date().toISOString(),
      oomKills,
      ...(why === undefined ? {} : { reason: why }),
    })
  }

  /** Who had SIGKILL sent to its first process, if that was the last signal. */
  #killerOf(namespace: string, state: TaskState): string | undefined {
    if (state.status === 'absent' || state.lastKill === undefined) return undefined
    const sent = this.#options.log.documents.get(command, namespace, state.lastKill)
    if (sent.status === 'absent') return undefined
    const { payload, actor } = sent.command
    return payload.execId === undefined && parseSignal(String(payload.signal)) === SIGKILL ? actor : undefined
  }

  /** Kills a task that has run for as long as its container allows. */
  #watchTimeout(namespace: string, id: string): void {
    const key = `${namespace}/${id}`
    const state = this.#stateOf(namespace, id)
    const made = this.#options.log.documents.get(containers, namespace, id)
    if (state.status !== 'running' || made.status === 'absent' || made.timeoutMs === undefined) return
    if (this.#deadlines.has(key)) return
    const leftMs = Math.max(0, Date.parse(state.startedAt) + made.timeoutMs - Date.now())
    const timer = setTimeout(
      () => {
        this.#timedOut.add(key)
        this.#submitTimeout({
          type: 'task.kill',
          subject: id,
          namespace,
          payload: { signal: 'SIGKILL', target: 'all' },
          idempotencyKey: `timeout/${id}/${state.startedAt}`,
        })
      },
      Math.min(leftMs, 2 ** 31 - 1),
    )
    timer.unref()
    this.#deadlines.set(key, timer)
  }

  #submitTimeout(request: CommandRequest & { namespace: string }): void {
    const { namespace, subject: id = '' } = request
    const traced = { ...request, ...this.#traceOf(namespace, id) }
    const submit = () => this.#options.intake.submit(traced, { actor: TIMEOUT })
    this.#insist('timeout', submit).catch((err) => {
      this.#options.logger.error({ err, namespace, id }, 'what ran too long could not be killed')
    })
  }

  #removeIfAsked(namespace: string, id: string): void {
    clearTimeout(this.#deadlines.get(`${namespace}/${id}`))
    this.#deadlines.delete(`${namespace}/${id}`)
    this.#timedOut.delete(`${namespace}/${id}`)
    const made = this.#options.log.documents.get(containers, namespace, id)
    const state = this.#stateOf(namespace, id)
    if (made.status !== 'present' || made.onExit !== 'remove' || state.status !== 'stopped') return
    this.removeContainer(namespace, id, state.exitedAt)
  }

  /** Asks once for each exit, whatever restarts. */
  removeContainer(namespace: string, id: string, exitedAt: string): void {
    const request = {
      type: 'container.remove',
      subject: id,
      namespace,
      idempotencyKey: `auto-remove/${id}/${exitedAt}`,
      ...this.#traceOf(namespace, id),
    }
    const submit = () => this.#options.intake.submit(request, { actor: 'purser:auto-remove' })
    this.#insist('auto-remove', submit).catch((err) => {
      this.#options.logger.warn({ err, namespace, id }, 'a container could not be removed on its exit')
    })
  }

  #isHeld(namespace: string, id: string): boolean {
    const state = this.#stateOf(namespace, id)
    return state.status === 'stopped' && state.host === 'held'
  }

  #stateOf(namespace: string, id: string): TaskState {
    return this.#options.log.documents.get(taskKind, namespace, id)
  }

  /** Of the command that a task came from, while that is remembered: what becomes of it is of the same trace. */
  #traceOf(namespace: string, id: string): { traceparent?: string } {
    const state = this.#stateOf(namespace, id)
    if (state.status === 'absent') return {}
    const origin = this.#options.log.documents.get(command, namespace, state.origin)
    const traceparent = origin.status === 'absent' ? undefined : origin.command.traceparent
    return traceparent === undefined ? {} : { traceparent }
  }

  /** Told anew only when it is held by something else. */
  async #recordStuck(namespace: string, id: string, evidence: StuckEvidence): Promise<void> {
    this.#options.logger.error({ namespace, id, ...evidence }, 'a task does not end')
    await this.#record(namespace, task.fact(id, 'task.stuck', evidence), () => {
      const state = this.#stateOf(namespace, id)
      return state.status !== 'absent' && heldBy(state.stuck) !== heldBy(evidence)
    })
  }

  #recordExit(namespace: string, id: string, exit: () => Fact): Promise<void> {
    return this.#record(namespace, exit(), () => {
      const { status } = this.#stateOf(namespace, id)
      return status !== 'absent' && status !== 'stopped'
    })
  }

  async #record(namespace: string, fact: Fact, isDue: () => boolean): Promise<void> {
    const { log, logger } = this.#options
    const { traceparent } = this.#traceOf(namespace, fact.id)
    await recordFact(log, fact, { namespace, by: 'tasks', isDue, traceparent, logger, signal: this.#stop.signal })
  }

  #insist(what: string, attempt: () => Promise<unknown>): Promise<void> {
    return insist(what, attempt, { logger: this.#options.logger, signal: this.#stop.signal })
  }
}

/** How long a shim has for its part in the end of a task; after it, it is killed. */
const END_MS = 15_000

/** Deletes an ended task, and ends its shim where that has no other. @returns whether the shim did all of it */
async function endThroughShim(live: LiveTask, signal: AbortSignal, logger: Logger): Promise<boolean> {
  const { shim, namespace, id } = live
  const within = AbortSignal.any([signal, AbortSignal.timeout(END_MS)])
  try {
    await shim.delete({}, within)
    if (live.isGrouped) return true
    await shim.shutdown(within)
    return shim.isClosed
  } catch (err) {
    const code = errorCodeOf(err)
    if (code !== 'not_found' && code !== 'unavailable')
      logger.warn({ err, namespace, id }, 'a shim does not end its task')
    return false
  } finally {
    shim.disconnect()
    for (const process of [live, ...live.execs.values()]) process.stdio.close()
  }
}

/** What is left of a task on the host, and what keeps it there. */
function whatHolds(cgroup: string, bundle: string): StuckEvidence {
  const processes = survivorsOf(pidsOf(cgroup))
  const holders = holdersOf(bundle, new Set(processes.map(({ pid }) => pid)))
  return { processes, mounts: mountsBeneath(bundle), holders }
}

/** What is compared of it: where a process is in the kernel may change while it hangs. */
const heldBy = (evidence: StuckEvidence | undefined): string =>
  evidence === undefined ? '' : JSON.stringify([evidence.processes.map(({ pid }) => pid), evidence.mounts])
