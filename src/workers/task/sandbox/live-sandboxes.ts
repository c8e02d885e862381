import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { sandbox } from '../../../commands/sandbox.ts'
import { type SandboxState, sandboxes } from '../../../commands/sandbox-record.ts'
import type { EventLog } from '../../../log/event-log.ts'
import { whileWanted } from '../../../model/concurrency.ts'
import { errorCodeOf, PurserError } from '../../../model/errors.ts'
import type { Changes } from '../../../queue/changes.ts'
import type { Shim } from '../../../shim/shim.ts'
import type { Shims, TaskRequest } from '../../../shim/shims.ts'
import { connectAnew } from '../connect-anew.ts'
import { recordFact } from '../record-fact.ts'

/** How a sandbox has ended: with an exit code where its shim has told one. */
export interface SandboxEnd {
  exitedAt: string
  exitCode?: number
  reason?: string
}

/** A sandbox as this daemon holds it: the connection to its shim. What it is, the log says. */
export interface LiveSandbox extends TaskRequest {
  sandboxer: 'podsandbox' | 'shim'
  shim: Shim
  ended: PromiseWithResolvers<SandboxEnd>
  /** Whether it has. */
  isOver: boolean
}

export interface LiveSandboxesOptions {
  log: EventLog
  changes: Changes
  shims: Shims
  logger: Logger
}

const AGAIN_MS = 1000
/** What a shim says of a sandbox that has ended. @see cri-api, PodSandboxState */
const NOT_READY = 'SANDBOX_NOTREADY'

export const liveSandbox = (request: TaskRequest, sandboxer: LiveSandbox['sandboxer'], shim: Shim): LiveSandbox => ({
  ...request,
  sandboxer,
  shim,
  ended: Promise.withResolvers<SandboxEnd>(),
  isOver: false,
})

/** The sandboxes whose shims this daemon is connected to. It records how they end by themselves. */
export class LiveSandboxes {
  readonly #options: LiveSandboxesOptions
  readonly #live = new Map<string, LiveSandbox>()
  readonly #stop = new AbortController()

  constructor(options: LiveSandboxesOptions) {
    this.#options = options
  }

  get(namespace: string, id: string): LiveSandbox | undefined {
    return this.#live.get(`${namespace}/${id}`)
  }

  /** Takes over one that was made here, or found; how it ends is recorded. */
  adopt(live: LiveSandbox): void {
    this.#live.set(`${live.namespace}/${live.id}`, live)
    void this.#watchShim(live)
    void live.ended.promise.then((end) => {
      live.isOver = true
      return this.#record(live, end)
    })
  }

  /** From its start on, the shim of a sandbox of its own is asked how that ends. */
  watchExit(live: LiveSandbox): void {
    if (live.sandboxer === 'shim') void this.#watchExit(live)
  }

  /** Lets go of one whose end is somebody else's affair from now on, as the connection to its shim is. */
  forget(live: LiveSandbox): void {
    if (this.get(live.namespace, live.id) === live) this.#live.delete(`${live.namespace}/${live.id}`)
  }

  /** Stops watching; shims and sandboxes go on. */
  stop(): void {
    this.#stop.abort(new PurserError('cancelled', 'the daemon stops'))
    for (const { shim } of this.#live.values()) shim.disconnect()
    this.#live.clear()
  }

  #isCurrent(live: LiveSandbox): boolean {
    return !this.#stop.signal.aborted && this.get(live.namespace, live.id) === live
  }

  async #watchShim(live: LiveSandbox): Promise<void> {
    const { shims, logger } = this.#options
    const { signal } = this.#stop
    try {
      while (true) {
        await whileWanted(live.shim.closed, signal)
        const shim = await connectAnew(shims, live, { isWanted: () => this.#isCurrent(live), logger, signal })
        if (!this.#isCurrent(live)) return shim?.disconnect()
        if (!shim) break
        live.shim = shim
      }
      live.ended.resolve({ exitedAt: new Date().toISOString(), reason: 'lost: its shim died' })
    } catch (err) {
      if (!signal.aborted) logger.error({ err, sandbox: live.id }, 'a sandbox is not watched any more')
    }
  }

  /** A shim that dies answers no more, which is seen by the end of its connection. */
  async #watchExit(live: LiveSandbox): Promise<void> {
    const { signal } = this.#stop
    while (this.#isCurrent(live)) {
      try {
        const end = await this.#exitOf(live)
        if (end) return live.ended.resolve(end)
        await whileWanted(live.shim.closed, signal)
      } catch (err) {
        if (signal.aborted || !this.#isCurrent(live)) return
        const { namespace, id } = live
        if (errorCodeOf(err) === 'not_found') {
          const reason = 'lost: its shim does not know it'
          return live.ended.resolve({ exitedAt: new Date().toISOString(), reason })
        }
        if (errorCodeOf(err) !== 'unavailable')
          this.#options.logger.warn({ err, namespace, sandbox: id }, 'a shim does not tell how its sandbox ends')
      }
      await delay(AGAIN_MS, undefined, { signal, ref: false }).catch(() => {}) // The loop looks whether it is wanted.
    }
  }

  /**
   * Some shims answer at once and tell no time, of a sandbox that is there as long as they are: that is no end, unless they
   * say so.
   *
   * @returns undefined when nothing is told
   */
  async #exitOf({ shim }: LiveSandbox): Promise<SandboxEnd | undefined> {
    const { signal } = this.#stop
    const { exitCode, exitedAt } = await shim.sandbox.wait(signal)
    if (exitedAt !== undefined) return { exitCode: exitCode & 0xff, exitedAt }
    const status = await shim.sandbox.status(signal)
    if (status.state !== NOT_READY) return undefined
    return { exitCode: exitCode & 0xff, exitedAt: status.exitedAt ?? new Date().toISOString() }
  }

  /** One that is being started or ended is recorded by whoever does that. */
  async #record(live: LiveSandbox, end: SandboxEnd): Promise<void> {
    const { log, changes, logger } = this.#options
    const { namespace, id } = live
    const { signal } = this.#stop
    const state = (): SandboxState => log.documents.get(sandboxes, namespace, id)
    const isDue = () => ['created', 'running'].includes(state().status) && this.get(namespace, id) === live
    try {
      const isSettled = () => state().status !== 'creating' && state().status !== 'starting'
      await changes.until({ aggregate: sandboxes.name, namespace, id }, isSettled, signal)
      if (!isDue()) return
      logger.warn({ namespace, sandbox: id, ...end }, 'a sandbox has ended')
      const fact = sandbox.fact(id, 'sandbox.exited', end)
      await recordFact(log, fact, { namespace, by: 'sandboxes', isDue, logger, signal })
    } catch (err) {
      if (!signal.aborted) logger.error({ err, namespace, sandbox: id }, 'the end of a sandbox could not be recorded')
    }
  }
}
