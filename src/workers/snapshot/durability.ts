import type { Logger } from 'pino'
import { snapshot, splitSnapshotId } from '../../commands/snapshot.ts'
import type { EventLog } from '../../log/event-log.ts'
import { spontaneous } from '../../model/event.ts'
import { insist } from '../../queue/insist.ts'
import type { Snapshotter } from '../../snapshotters/snapshotter.ts'

/** The disk is left to those who wait for it, as long as snapshots keep coming. */
const QUIET_MS = 2000
const DELAY_MS_MAX = 30_000
/** Before a reboot that is planned, so that nothing has to be unpacked again after it. */
const LAST_SYNC_MS_MAX = 5_000
const FACTS_MAX = 500

export interface DurabilityOptions {
  log: EventLog
  snapshotters: ReadonlyMap<string, Snapshotter>
  /** Whether pulls wait for the disk now. */
  isBusy: () => boolean
  logger: Logger
}

/** Brings committed snapshots to the disk after their pulls have been answered, and records that they are there. */
export class SnapshotDurability implements AsyncDisposable {
  readonly #options: DurabilityOptions
  readonly #stop = new AbortController()
  readonly #listening: Disposable
  #timer: NodeJS.Timeout | undefined
  #pendingSince: number | undefined
  #syncing: Promise<void> = Promise.resolve()

  constructor(options: DurabilityOptions) {
    this.#options = options
    this.#listening = options.log.listen(({ type }) => {
      if (type === 'snapshot.committed') this.#schedule()
    })
    if (this.#unsynced().length > 0) this.#schedule()
  }

  /** Brings what there is to the disk, and records it. */
  async sync(signal: AbortSignal): Promise<void> {
    const { log, snapshotters } = this.#options
    const bySnapshotter = Map.groupBy(this.#unsynced(), ({ id }) => splitSnapshotId(id).snapshotter)
    for (const [name, unsynced] of bySnapshotter) {
      const [first] = unsynced
      if (!first) continue
      // All of its file system, so that one call serves many.
      await snapshotters.get(name)?.sync(first.dir, signal)
      for (let at = 0; at < unsynced.length; at += FACTS_MAX) {
        const facts = unsynced
          .slice(at, at + FACTS_MAX)
          .map(({ namespace, id, dir }) => snapshot.fact(id, 'snapshot.synced', { dir }, namespace))
        await log.record(facts, 'default', spontaneous('snapshots'))
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listening[Symbol.dispose]()
    clearTimeout(this.#timer)
    this.#stop.abort()
    await this.#syncing
    await this.sync(AbortSignal.timeout(LAST_SYNC_MS_MAX)).catch((err) => {
      this.#options.logger.warn({ err }, 'snapshots may not be on the disk: after a reboot they are unpacked again')
    })
  }

  #unsynced(): { namespace: string; id: string; dir: string }[] {
    return [...this.#options.log.documents.list(snapshot)].flatMap(({ namespace, id, state }) =>
      state.status === 'committed' && !state.synced ? [{ namespace, id, dir: state.dir }] : [],
    )
  }

  #schedule(): void {
    const now = performance.now()
    this.#pendingSince ??= now
    const latest = this.#pendingSince + DELAY_MS_MAX
    clearTimeout(this.#timer)
    this.#timer = setTimeout(
      () => {
        if (this.#options.isBusy() && performance.now() < latest) return this.#schedule()
        this.#pendingSince = undefined
        this.#syncing = this.#syncing.then(() => this.#syncInsistently())
      },
      Math.max(0, Math.min(QUIET_MS, latest - now)),
    ).unref()
  }

  async #syncInsistently(): Promise<void> {
    const { logger } = this.#options
    const { signal } = this.#stop
    await insist('snapshots on the disk', () => this.sync(signal), { logger, signal }).catch((err) => {
      if (!signal.aborted) logger.warn({ err }, 'snapshots could not be brought to the disk: the next pull tries again')
    })
  }
}
