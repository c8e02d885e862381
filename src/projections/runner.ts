import { renameSync } from 'node:fs'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import type { EventLog } from '../log/event-log.ts'
import { PurserError } from '../model/errors.ts'
import type { StoredEvent } from '../model/event.ts'
import { FoldError, type Projection, type ProjectionStore } from './projection.ts'

export interface ProjectionStatus {
  name: string
  schema: number
  status: 'running' | 'rebuilding' | 'stopped'
  checkpoint: number
  /** Events between its checkpoint and the head. */
  lag: number
  /** Why it is stopped, and at which event. */
  failure?: { position: number; message: string }
}

const BATCH_MAX = 500
const GATHER_MS = 25

/**
 * Keeps one projection up to date. One that fails at an event stops there, is reported, and harms no other; its store still
 * answers, as of its checkpoint.
 */
export class ProjectionRunner<Store extends ProjectionStore = ProjectionStore> {
  readonly projection: Projection<Store>
  readonly #log: EventLog
  readonly #dir: string
  readonly #logger: Logger
  readonly #stop = new AbortController()
  readonly #folds: ReadonlySet<string> | undefined
  #store: Store
  #running: Promise<void> = Promise.resolve()
  #rebuilding = false
  #failure: ProjectionStatus['failure']
  #isCurrent = false
  #wake: (() => void) | undefined
  #pause: Promise<void> | undefined

  private constructor(projection: Projection<Store>, log: EventLog, dir: string, store: Store, logger: Logger) {
    this.projection = projection
    this.#log = log
    this.#dir = dir
    this.#store = store
    this.#logger = logger.child({ projection: projection.name })
    this.#folds = projection.folds === undefined ? undefined : new Set(projection.folds)
  }

  /** @param dir of all projections */
  static async start<Store extends ProjectionStore>(
    projection: Projection<Store>,
    log: EventLog,
    dir: string,
    logger: Logger,
  ): Promise<ProjectionRunner<Store>> {
    const own = join(dir, projection.name)
    await mkdir(own, { recursive: true, mode: 0o700 })
    // Stores of other schemas, and rebuilds that were cut off.
    for (const name of await readdir(own))
      if (name !== String(projection.schema)) await rm(join(own, name), { recursive: true })
    let store = await openStore(projection, join(own, String(projection.schema)))
    if (store.checkpoint > log.head) {
      logger.warn({ projection: projection.name }, 'its store is of another log, and is made anew')
      await store[Symbol.asyncDispose]()
      await rm(join(own, String(projection.schema)), { recursive: true })
      store = await openStore(projection, join(own, String(projection.schema)))
    }
    const runner = new ProjectionRunner(projection, log, own, store, logger)
    runner.#running = runner.#run()
    return runner
  }

  /** What readers ask; another one after a rebuild. */
  get store(): Store {
    return this.#store
  }

  /** Whether it has been at the head of the log since it was started: before, it may tell of the past as if it were now. */
  get isCurrent(): boolean {
    return this.#isCurrent
  }

  get status(): ProjectionStatus {
    const { name, schema } = this.projection
    const { checkpoint } = this.#store
    const failure = this.#failure
    const status = this.#rebuilding ? 'rebuilding' : failure ? 'stopped' : 'running'
    const lag = Math.max(0, this.#log.head - checkpoint)
    return { name, schema, status, checkpoint, lag, ...(failure ? { failure } : {}) }
  }

  /** Resolves when the store has seen an event. @throws PurserError failed_precondition when the projection has stopped */
  async reaches(position: number, signal: AbortSignal): Promise<void> {
    while (this.#store.checkpoint < position) {
      signal.throwIfAborted()
      if (this.#failure) {
        const { position: at, message } = this.#failure
        throw new PurserError(
          'failed_precondition',
          `projection ${this.projection.name} stopped at event ${at}: ${message}`,
          {
            remedy: `purser projection rebuild ${this.projection.name}, with a version that can fold it`,
          },
        )
      }
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
  }

  /** Folds the whole log into a new store beside the old one, which answers until the new one takes its place. */
  async rebuild(): Promise<void> {
    if (this.#rebuilding)
      throw new PurserError('failed_precondition', `projection ${this.projection.name} is being rebuilt already`)
    this.#rebuilding = true
    const beside = join(this.#dir, `${this.projection.schema}.rebuild`)
    try {
      await rm(beside, { recursive: true, force: true })
      const store = await openStore(this.projection, beside)
      try {
        while (store.checkpoint < this.#log.head) await this.#advance(store)
        await this.#swap(store, beside)
      } catch (error) {
        await store[Symbol.asyncDispose]()
        throw error
      }
    } finally {
      this.#rebuilding = false
      await rm(beside, { recursive: true, force: true })
    }
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    this.#wake?.()
    await this.#running
    await this.#store[Symbol.asyncDispose]()
  }

  async #swap(store: Store, beside: string): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#pause = promise
    this.#wake?.()
    const path = join(this.#dir, String(this.projection.schema))
    const old = `${path}.old`
    try {
      await this.#running
      await store[Symbol.asyncDispose]()
      // From here on nothing waits for the disk, so that no request comes in between and finds a store that is closed.
      await this.#store[Symbol.asyncDispose]()
      renameSync(path, old)
      renameSync(beside, path)
      this.#store = await this.projection.open(path)
      this.#failure = undefined
    } finally {
      this.#pause = undefined
      resolve()
      await rm(old, { recursive: true, force: true })
    }
    this.#running = this.#run()
  }

  async #run(): Promise<void> {
    using _ = this.#log.listen(() => this.#wake?.())
    while (!this.#stop.signal.aborted && !this.#pause) {
      if (this.#store.checkpoint >= this.#log.head) {
        this.#isCurrent = true
        await new Promise<void>((resolve) => {
          this.#wake = resolve
          if (this.#store.checkpoint < this.#log.head || this.#stop.signal.aborted || this.#pause) resolve()
        })
        // What comes within a moment is folded at once: a transaction for each event would slow the appends between them.
        await new Promise((resolve) => setTimeout(resolve, GATHER_MS))
        continue
      }
      try {
        await this.#advance(this.#store)
      } catch (err) {
        if (err instanceof FoldError) {
          const message = err.cause instanceof Error ? err.cause.message : String(err.cause)
          this.#failure = { position: err.position, message }
          this.#logger.error({ err, position: err.position }, 'projection stopped: it cannot fold an event')
          return
        }
        // Redis is away, or the disk is full: it goes on when they are back.
        this.#logger.warn({ err }, 'projection waits')
        await new Promise((resolve) => setTimeout(resolve, 1000).unref())
      }
    }
  }

  /** Folds what there is, in batches; stops between two of them when it is asked to. */
  async #advance(store: Store): Promise<void> {
    let batch: StoredEvent[] = []
    const { head } = this.#log
    for await (const event of this.#log.recent(store.checkpoint, BATCH_MAX) ?? this.#log.read(store.checkpoint, head)) {
      batch.push(event)
      if (batch.length < BATCH_MAX) continue
      this.#fold(store, batch)
      batch = []
      await new Promise(setImmediate)
      if (this.#stop.signal.aborted || (this.#pause && store === this.#store)) return
    }
    this.#fold(store, batch)
  }

  #fold(store: Store, batch: readonly StoredEvent[]): void {
    const last = batch.at(-1)
    const folds = this.#folds
    const isFolded = (event: StoredEvent) =>
      folds === undefined || (folds.has(event.type) && this.#log.documents.knows(event))
    if (last) store.fold(batch.filter(isFolded), last.position)
  }
}

async function openStore<Store extends ProjectionStore>(projection: Projection<Store>, dir: string): Promise<Store> {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  return await projection.open(dir)
}
