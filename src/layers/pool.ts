import { Worker } from 'node:worker_threads'
import type { DigestAlgorithm } from '../model/digest.ts'
import { PurserError } from '../model/errors.ts'
import type { AvailableBytes } from './available-bytes.ts'
import { DEFAULT_LIMITS, type LayerLimits } from './limits.ts'
import { type FromWorker, JobControl, type LayerResult, type ToWorker, type Whiteouts } from './protocol.ts'

export interface ExtractRequest {
  source: { path: string; sizeBytes: number; algorithm?: DigestAlgorithm }
  /** For a file that is still being written: how much of it is there. Left out for complete files. */
  available?: AvailableBytes
  /** An existing directory; undefined when only the digests are wanted. */
  target: string | undefined
  whiteouts: Whiteouts
  /** Instead of those of the pool. */
  limits?: Partial<LayerLimits>
  /** Smaller is more urgent, and gets the next thread whatever its size; 100 when left out. */
  priority?: number
  /** Called a few times a second while the layer is being read. */
  onProgress?: (progress: { tarBytes: number; entries: number }) => void
  /** Disk space for it, which it never exceeds. */
  room?: LayerRoom
}

/** Space that is there for what a layer unpacks to. */
export interface LayerRoom {
  readonly bytes: number
  /** So much of it is used by now. */
  used(bytes: number): void
  /** Makes room for more in all, so much at least. @returns how much there is now @throws what the extraction then ends with */
  extend(atLeastBytes: number, atMostBytes: number): Promise<number>
}

export interface LayerPoolOptions {
  threads: number
  idleMs?: number
  /** Of every layer; defaults for those left out. */
  limits?: Partial<LayerLimits>
}

/** Bytes that have to be there before a thread is given to a growing file. */
const START_BYTES = 256 * 1024
const PROGRESS_MS = 200
/** Threads that wait for bytes may be stood in for by others, so many times as many as there are. */
const STAND_INS_MAX = 2
const STAND_IN_MS = 50
/** More room is asked for when there is no more than this: before a thread has to wait for it. */
const ROOM_AHEAD_BYTES = 16 * 1024 * 1024
/** As much as a thread writes at a time. */
const ROOM_STEP_BYTES = 256 * 1024
const ROOM_MS = 20

interface Waiting {
  request: ExtractRequest
  control: JobControl
  start(thread: Worker): void
}

/**
 * Threads that read layers. They start when there is work and end after a time without any, because an idle thread
 * costs memory. The largest waiting layer is taken first, so that it does not run alone at the end.
 *
 * A thread that has begun a growing file keeps it to its end and blocks while it waits for bytes. So a download must
 * never wait for an extraction, only the other way round; and a file is begun only once some of it is there, so that
 * threads are not taken by downloads that have not started. While it waits, another thread stands in for it, so that slow
 * downloads do not hold up what is there.
 */
export class LayerPool {
  readonly #threads: number
  readonly #limits: LayerLimits
  readonly #idleMs: number
  readonly #idle: { thread: Worker; timer: NodeJS.Timeout }[] = []
  readonly #busy = new Map<Worker, JobControl>()
  #lookAgain: NodeJS.Timeout | undefined
  readonly #stop = new AbortController()
  readonly #waiting: Waiting[] = []
  #onQuiet: (() => void) | undefined

  constructor({ threads, idleMs = 10_000, limits = {} }: LayerPoolOptions) {
    this.#limits = { ...DEFAULT_LIMITS, ...limits }
    this.#threads = threads
    this.#idleMs = idleMs
  }

  /**
   * Reads a layer: hashes, decompresses, extracts. Digests are not checked here but returned.
   *
   * @throws PurserError data_loss for wrong bytes, resource_exhausted beyond a limit or on a full disk; the error that
   * `available.fail` was given; the reason of the signal
   */
  async extract(request: ExtractRequest, callerSignal: AbortSignal): Promise<LayerResult> {
    const outOfRoom = new AbortController()
    const signal = AbortSignal.any([callerSignal, this.#stop.signal, outOfRoom.signal])
    signal.throwIfAborted()
    const control = new JobControl()
    const { available, onProgress } = request
    using _watch = available?.watch(() => this.#next())
    const timer = onProgress && setInterval(() => onProgress(control.progress()), PROGRESS_MS)
    const onAbort = () => {
      control.cancel()
      available?.wake()
    }
    signal.addEventListener('abort', onAbort, { once: true })
    using _room = request.room && this.#watchRoom(request.room, control, (error) => outOfRoom.abort(error))
    try {
      const thread = await this.#thread(request, control, signal)
      const answer = await this.#run(thread, request, control)
      if ('result' in answer) {
        onProgress?.(answer.result)
        return answer.result
      }
      signal.throwIfAborted()
      if (available?.failure !== undefined) throw available.failure
      throw new PurserError(answer.error.code, answer.error.message, {
        ...answer.error,
        cause: new Error(`in a layer thread: ${answer.cause}`),
      })
    } finally {
      clearInterval(timer)
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** Asks for more room in time; that there is none ends an extraction only once it cannot go on without. */
  #watchRoom(room: LayerRoom, control: JobControl, fail: (error: unknown) => void): Disposable {
    let bytes = room.bytes
    let isAsking = false
    control.giveRoom(bytes)
    const timer = setInterval(async () => {
      const { tarBytes } = control.progress()
      room.used(tarBytes)
      if (isAsking || tarBytes + ROOM_AHEAD_BYTES <= bytes) return
      isAsking = true
      try {
        bytes = await room.extend(bytes + ROOM_STEP_BYTES, tarBytes + 2 * ROOM_AHEAD_BYTES)
        control.giveRoom(bytes)
      } catch (error) {
        if (tarBytes + ROOM_STEP_BYTES > bytes) fail(error)
      } finally {
        isAsking = false
      }
    }, ROOM_MS)
    return { [Symbol.dispose]: () => clearInterval(timer) }
  }

  /** Starts the threads ahead of work, which takes some tens of milliseconds. */
  warm(): void {
    while (!this.#stop.signal.aborted && this.#idle.length + this.#busy.size < this.#threads)
      this.#rest(this.#startThread())
  }

  /** Ends all threads; extractions that are running or waiting are cancelled. */
  async close(): Promise<void> {
    this.#stop.abort(new PurserError('cancelled', 'the layer pool is closed'))
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#onQuiet = resolve
    if (this.#busy.size === 0) resolve()
    await promise
    const idle = this.#idle.splice(0)
    for (const { timer } of idle) clearTimeout(timer)
    await Promise.all(idle.map(({ thread }) => thread.terminate()))
  }

  #thread(request: ExtractRequest, control: JobControl, signal: AbortSignal): Promise<Worker> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        request,
        control,
        start: (thread) => {
          signal.removeEventListener('abort', onAbort)
          resolve(thread)
        },
      }
      const onAbort = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1)
        reject(signal.reason)
      }
      signal.addEventListener('abort', onAbort, { once: true })
      this.#waiting.push(waiting)
      this.#next()
    })
  }

  /** Gives free threads to the largest layers that can begin. */
  #next(): void {
    while (this.#hasThread()) {
      let best: Waiting | undefined
      for (const each of this.#waiting) {
        if (canBegin(each.request) && (!best || comesBefore(each.request, best.request))) best = each
      }
      if (!best) return
      this.#waiting.splice(this.#waiting.indexOf(best), 1)
      const rested = this.#idle.pop()
      clearTimeout(rested?.timer)
      const thread = rested?.thread ?? this.#startThread()
      this.#busy.set(thread, best.control)
      thread.ref()
      best.start(thread)
    }
  }

  #hasThread(): boolean {
    if (this.#busy.size < this.#threads) return true
    let working = 0
    for (const control of this.#busy.values()) if (!control.isWaiting()) working += 1
    if (working < this.#threads && this.#busy.size < this.#threads * (1 + STAND_INS_MAX)) return true
    // Nobody tells when a thread begins to wait.
    if (this.#lookAgain === undefined && this.#waiting.some(({ request }) => canBegin(request))) {
      this.#lookAgain = setTimeout(() => {
        this.#lookAgain = undefined
        this.#next()
      }, STAND_IN_MS).unref()
    }
    return false
  }

  #startThread(): Worker {
    return new Worker(new URL('./worker.ts', import.meta.url), { trackUnmanagedFds: false })
  }

  async #run(thread: Worker, request: ExtractRequest, control: JobControl): Promise<FromWorker> {
    const { source, available, target, whiteouts, limits } = request
    const message: ToWorker = {
      job: {
        path: source.path,
        sizeBytes: source.sizeBytes,
        algorithm: source.algorithm ?? 'sha256',
        available: available?.shared,
        control: control.shared,
        target,
        whiteouts,
        limits: { ...this.#limits, ...limits },
      },
    }
    let isAlive = true
    const { promise, resolve, reject } = Promise.withResolvers<FromWorker>()
    const died = (cause: unknown) => {
      isAlive = false
      reject(new PurserError('internal', 'a layer thread ended while it was extracting', { cause }))
    }
    thread.on('message', resolve).on('error', died).on('exit', died)
    try {
      thread.postMessage(message)
      return await promise
    } finally {
      thread.off('message', resolve).off('error', died).off('exit', died)
      this.#busy.delete(thread)
      if (isAlive) this.#rest(thread)
      this.#next()
      if (this.#busy.size === 0) this.#onQuiet?.()
    }
  }

  #rest(thread: Worker): void {
    thread.unref()
    const timer = setTimeout(() => {
      this.#idle.splice(
        this.#idle.findIndex((each) => each.thread === thread),
        1,
      )
      void thread.terminate()
    }, this.#idleMs)
    timer.unref()
    this.#idle.push({ thread, timer })
  }
}

/** The largest is taken first, so that it does not run alone at the end. */
function comesBefore(one: ExtractRequest, other: ExtractRequest): boolean {
  const { priority = 100 } = one
  const { priority: otherPriority = 100 } = other
  return priority === otherPriority ? one.source.sizeBytes > other.source.sizeBytes : priority < otherPriority
}

/** A failed download begins as well, so that its extraction ends with its error. */
function canBegin({ source, available }: ExtractRequest): boolean {
  if (!available || available.failure !== undefined) return true
  return available.total >= Math.min(START_BYTES, source.sizeBytes)
}
