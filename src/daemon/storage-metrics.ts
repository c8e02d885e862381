import { statfsSync } from 'node:fs'
import type { Logger } from 'pino'
import { Gauge, type Registry } from 'prom-client'
import { container } from '../commands/container.ts'
import { content } from '../commands/content.ts'
import { snapshot, splitSnapshotId } from '../commands/snapshot.ts'
import type { EventLog } from '../log/event-log.ts'
import { diskUsed } from '../projections/sli/observations.ts'
import type { Snapshotter } from '../snapshotters/snapshotter.ts'

export interface Stored {
  log: EventLog
  snapshotters: ReadonlyMap<string, Snapshotter>
  /** On the disk that is measured. */
  root: string
  logger: Logger
}

/** Walking a tree takes a while: what was measured is good for so long. */
const GOOD_FOR_MS = 60_000
/** Those that containers write to change, and are measured again after so long. */
const WRITTEN_GOOD_FOR_MS = 300_000

interface Measured {
  sizeBytes: number
  atMs: number
  /** Nobody could write to it any more. */
  isFinal: boolean
}

/**
 * What content and snapshots take. Scrapes are answered with what was measured last and have it measured again, one
 * snapshot after the other; a committed one does not change and is measured once.
 */
export class SnapshotUsage implements AsyncDisposable {
  readonly #stored: Stored
  readonly #stop = new AbortController()
  /** By snapshotter and directory. */
  #sizes = new Map<string, Measured>()
  #totals: ReadonlyMap<string, number> = new Map()
  #measuredMs = Number.NEGATIVE_INFINITY
  #measuring: Promise<void> | undefined

  constructor(stored: Stored) {
    this.#stored = stored
  }

  /** Bytes by snapshotter, as of at most a minute before the last time that somebody asked; empty at first. */
  bytes(nowMs = Date.now()): ReadonlyMap<string, number> {
    if (nowMs - this.#measuredMs >= GOOD_FOR_MS) this.#measuring ??= this.#measure(nowMs)
    return this.#totals
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#measuring
  }

  async #measure(nowMs: number): Promise<void> {
    const { log, snapshotters, logger } = this.#stored
    const sizes = new Map<string, Measured>()
    const totals = new Map([...snapshotters.keys()].map((name) => [name, 0]))
    try {
      for (const { id, state } of [...log.documents.list(snapshot)]) {
        const name = splitSnapshotId(id).snapshotter
        const snapshotter = snapshotters.get(name)
        if (state.status === 'absent' || snapshotter === undefined) continue
        const key = `${name}/${state.dir}`
        if (sizes.has(key)) continue
        const known = this.#sizes.get(key)
        const isFinal = state.status === 'committed'
        const isGood = known?.isFinal || (!isFinal && known && nowMs - known.atMs < WRITTEN_GOOD_FOR_MS)
        const measured = isGood
          ? known
          : { sizeBytes: await this.#sizeOf(snapshotter, state.dir), atMs: nowMs, isFinal }
        sizes.set(key, measured)
        totals.set(name, (totals.get(name) ?? 0) + measured.sizeBytes)
      }
      this.#sizes = sizes
      this.#totals = totals
    } catch (err) {
      if (!this.#stop.signal.aborted) logger.warn({ err }, 'snapshots could not be measured')
    } finally {
      this.#measuredMs = nowMs
      this.#measuring = undefined
    }
  }

  async #sizeOf(snapshotter: Snapshotter, dir: string): Promise<number> {
    const { signal } = this.#stop
    const usage = await snapshotter.usage(dir, signal).catch(() => undefined) // It may be removed meanwhile.
    signal.throwIfAborted()
    return usage?.sizeBytes ?? 0
  }
}

/** Gauges of what takes room on the disk. */
export function observeStorage(register: Registry, stored: Stored, usage: SnapshotUsage): void {
  const registers = [register]
  const { log, root } = stored
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read())
      },
    })
  const disk = () => statfsSync(root)
  gauge('purser_disk_size_bytes', 'Of the file system that holds the root directory.', () => {
    const { blocks, bsize } = disk()
    return blocks * bsize
  })
  gauge('purser_disk_available_bytes', 'What of it is there for users.', () => {
    const { bavail, bsize } = disk()
    return bavail * bsize
  })
  gauge('purser_disk_used_ratio', 'As df has it: of what is used and what is there for users.', () => diskUsed(root))
  // Namespaces share bytes: each blob counts once.
  const blobs = () =>
    new Map(
      [...log.documents.list(content)].flatMap(({ id, state }) =>
        state.status === 'present' ? [[id, state.sizeBytes] as const] : [],
      ),
    )
  gauge('purser_content_bytes', 'What the blobs in the content store take.', () =>
    [...blobs().values()].reduce((sum, bytes) => sum + bytes, 0),
  )
  gauge('purser_content_blobs', 'Blobs in the content store.', () => blobs().size)
  gauge('purser_checkpoint_bytes', 'What checkpoints of containers take, as they were made.', () =>
    [...log.documents.list(container)]
      .flatMap(({ state }) => (state.status === 'absent' ? [] : Object.values(state.checkpoints ?? {})))
      .reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
  )
  const labelNames = ['snapshotter']
  new Gauge({
    name: 'purser_snapshot_bytes',
    help: 'What snapshots take on the disk; measured about once a minute.',
    labelNames,
    registers,
    collect() {
      for (const [snapshotter, bytes] of usage.bytes()) this.set({ snapshotter }, bytes)
    },
  })
  new Gauge({
    name: 'purser_snapshots',
    help: 'Snapshots that there are, those of containers included.',
    labelNames,
    registers,
    collect() {
      const counts = new Map([...stored.snapshotters.keys()].map((name) => [name, 0]))
      for (const { id, state } of log.documents.list(snapshot)) {
        const { snapshotter } = splitSnapshotId(id)
        const count = counts.get(snapshotter)
        if (state.status !== 'absent' && count !== undefined) counts.set(snapshotter, count + 1)
      }
      for (const [snapshotter, count] of counts) this.set({ snapshotter }, count)
    },
  })
}
