import { closeSync, constants, mkdirSync, openSync, renameSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Logger } from 'pino'
import { uuidv7 } from '../model/ids.ts'
import { ensureFifo } from './fifo.ts'
import type { Shim, ShimIdentity } from './shim.ts'
import type { ShimLog } from './shim-log.ts'
import { noteShimId } from './shim-remains.ts'
import { stdioDir } from './stdio.ts'

/** So long after the last start or removal, the machine has time for what may be needed next. */
const REFILL_MS = 100
/** Without a start for so long, spare ones are not worth their memory. */
const KEPT_MS = 60_000
const CLOSE_MS = 5000

/** Of which kind of task: a shim is bound to its namespace, and its program is the runtime's. */
export interface SpareKind {
  namespace: string
  runtime: string
}

/** A shim that has no task yet, in a directory that is to become its task's bundle. */
export interface SpareShim {
  shim: Shim
  log: ShimLog
  /** Where it is now. */
  dir: string
}

/** Starts one. @param readFds descriptors of the reading ends of its streams, for it to hold */
export type LaunchSpare = (
  request: ShimIdentity & { runtime: string; readFds: readonly number[] },
  signal: AbortSignal,
) => Promise<Pick<SpareShim, 'shim' | 'log'>>

interface Group extends SpareKind {
  ready: SpareShim[]
  refill: NodeJS.Timeout | undefined
  expiry: NodeJS.Timeout | undefined
  filling: Promise<void> | undefined
}

/**
 * Shims that were started ahead for the kinds of task in use, each for one task: a start does not wait for a process to
 * be made.
 */
export class SpareShims {
  readonly #dir: string
  readonly #size: number
  readonly #launch: LaunchSpare
  readonly #logger: Pick<Logger, 'debug' | 'warn'>
  readonly #groups = new Map<string, Group>()
  readonly #stop = new AbortController()

  /**
   * @param dir on the file system of the bundles
   * @param size how many for each kind; 0 for none
   */
  constructor(dir: string, size: number, launch: LaunchSpare, logger: Pick<Logger, 'debug' | 'warn'>) {
    this.#dir = dir
    this.#size = size
    this.#launch = launch
    this.#logger = logger
  }

  /** Takes one, and makes its directory the bundle; undefined when there is none. */
  take({ namespace, runtime }: SpareKind, bundle: string): SpareShim | undefined {
    const group = this.#groups.get(`${runtime} ${namespace}`)
    for (let spare = group?.ready.shift(); spare !== undefined; spare = group?.ready.shift()) {
      if (spare.shim.isClosed) {
        void this.#discard(spare)
        continue
      }
      try {
        mkdirSync(dirname(bundle), { recursive: true, mode: 0o711 })
        renameSync(spare.dir, bundle)
        return { ...spare, dir: bundle }
      } catch (err) {
        // A full disk, or a directory that was removed: the task's own shim says what is wrong, if it is.
        this.#logger.warn({ err, dir: spare.dir }, 'a spare shim could not be taken')
        void this.#discard(spare)
      }
    }
    return undefined
  }

  /** A task of this kind was started: more may follow. */
  wanted({ namespace, runtime }: SpareKind): void {
    if (this.#size === 0 || this.#stop.signal.aborted) return
    const key = `${runtime} ${namespace}`
    const known = this.#groups.get(key)
    const group: Group = known ?? {
      namespace,
      runtime,
      ready: [],
      refill: undefined,
      expiry: undefined,
      filling: undefined,
    }
    this.#groups.set(key, group)
    clearTimeout(group.expiry)
    group.expiry = setTimeout(() => void this.#release(group), KEPT_MS).unref()
    this.#refillLater(group)
  }

  /** A task of this kind is being removed, which someone may wait for. */
  postpone({ namespace, runtime }: SpareKind): void {
    const group = this.#groups.get(`${runtime} ${namespace}`)
    if (group?.refill !== undefined) this.#refillLater(group)
  }

  #refillLater(group: Group): void {
    clearTimeout(group.refill)
    group.refill = setTimeout(() => {
      group.refill = undefined
      group.filling ??= this.#fill(group).finally(() => {
        group.filling = undefined
      })
    }, REFILL_MS).unref()
  }

  /** Ends those that nobody took. */
  async close(): Promise<void> {
    this.#stop.abort()
    await Promise.all([...this.#groups.values()].map((group) => this.#release(group)))
  }

  async #fill(group: Group): Promise<void> {
    try {
      while (group.ready.length < this.#size && !this.#stop.signal.aborted) group.ready.push(await this.#make(group))
    } catch (err) {
      // The next start makes its own, and says what is wrong.
      if (!this.#stop.signal.aborted) this.#logger.debug({ err, namespace: group.namespace }, 'no spare shim')
    }
  }

  async #make({ namespace, runtime }: SpareKind): Promise<SpareShim> {
    const id = `spare-${uuidv7()}`
    const dir = join(this.#dir, namespace, id)
    const readFds: number[] = []
    try {
      mkdirSync(stdioDir(dir), { recursive: true, mode: 0o711 })
      noteShimId(dir, id)
      // A shim reads the annotations when it starts, and the rest when its task is created.
      writeFileSync(join(dir, 'config.json'), '{}', { mode: 0o600 })
      for (const name of ['stdout', 'stderr']) {
        const path = join(stdioDir(dir), name)
        ensureFifo(path)
        readFds.push(openSync(path, constants.O_RDONLY | constants.O_NONBLOCK))
      }
      const { shim, log } = await this.#launch({ namespace, id, bundle: dir, runtime, readFds }, this.#stop.signal)
      return { shim, log, dir }
    } catch (error) {
      await rm(dir, { recursive: true, force: true })
      throw error
    } finally {
      for (const fd of readFds) closeSync(fd)
    }
  }

  async #release(group: Group): Promise<void> {
    clearTimeout(group.refill)
    clearTimeout(group.expiry)
    this.#groups.delete(`${group.runtime} ${group.namespace}`)
    await group.filling
    await Promise.all(group.ready.splice(0).map((spare) => this.#discard(spare)))
  }

  async #discard({ shim, dir }: SpareShim): Promise<void> {
    try {
      if (!shim.isClosed) await shim.shutdown(AbortSignal.timeout(CLOSE_MS))
    } catch (err) {
      this.#logger.warn({ err, dir }, 'a spare shim did not end')
    } finally {
      shim.disconnect()
      await rm(dir, { recursive: true, force: true })
    }
  }
}
