import { Worker } from 'node:worker_threads'
import type { ByteString } from '../../host/byte-paths.ts'
import { type ErrorBody, PurserError } from '../../model/errors.ts'
import type { FileStatus } from '../../model/file-status.ts'
import type { Copied, CopyTarget } from './write-copy.ts'

/** What a path leads to in a tree. */
export interface PathInTree {
  /** Descriptor of the directory that paths do not lead out of. */
  root: number
  path: ByteString
  /** Whether a symlink at the end of the path is followed, or meant itself. */
  last: 'follow' | 'itself'
  /** Directories on which something is mounted at other times: what is below them now is not what is asked for. */
  covered: readonly ByteString[]
}

export type CopyRequest =
  | ({ copy: 'none' } & PathInTree)
  | ({
      copy: 'out'
      /** What it is called in the tar. */
      name: ByteString
    } & PathInTree)
  | ({
      copy: 'in'
      /** Path of a plain tar. */
      archive: string
      target: Omit<CopyTarget, 'root' | 'directory'>
    } & PathInTree)

type Request<C extends CopyRequest['copy']> = Omit<Extract<CopyRequest, { copy: C }>, 'copy'>

type Result = Copied | FileStatus
/** What the thread says: pieces of a tar, each to be taken before the next is made, then the result. */
export type FromCopyThread = { chunk: Uint8Array } | { result: Result } | { error: ErrorBody }

/**
 * A tree as a tar, read by a thread of its own: a file system that does not answer holds up nobody else.
 *
 * @param release called when the thread does not use the root any more, which may be after this has ended
 */
export async function* copyOut(
  request: Request<'out'>,
  release: () => void,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, void> {
  using thread = new CopyThread({ copy: 'out', ...request }, release, signal)
  for (;;) {
    const message = await thread.next()
    if ('result' in message) return
    yield message.chunk
    thread.taken()
  }
}

/** Writes a tar into a tree, likewise. */
export async function copyIn(request: Request<'in'>, release: () => void, signal: AbortSignal): Promise<Copied> {
  using thread = new CopyThread({ copy: 'in', ...request }, release, signal)
  const message = await thread.next()
  if ('result' in message && 'entries' in message.result) return message.result
  throw new PurserError('internal', 'the thread that copies said something unexpected')
}

/** What is at a path, likewise. */
export async function statusIn(request: PathInTree, release: () => void, signal: AbortSignal): Promise<FileStatus> {
  using thread = new CopyThread({ copy: 'none', ...request }, release, signal)
  const message = await thread.next()
  if ('result' in message && 'type' in message.result) return message.result
  throw new PurserError('internal', 'the thread that copies said something unexpected')
}

type Told = Exclude<FromCopyThread, { error: ErrorBody }>

class CopyThread implements Disposable {
  readonly #thread: Worker
  readonly #signal: AbortSignal
  #told = Promise.withResolvers<Told>()
  readonly #onAbort = () => this.#told.reject(this.#signal.reason)

  constructor(request: CopyRequest, release: () => void, signal: AbortSignal) {
    this.#signal = signal
    this.#thread = new Worker(new URL('./copy-thread.ts', import.meta.url), {
      workerData: request,
      env: {},
      execArgv: [],
      trackUnmanagedFds: false,
    })
    this.#thread.on('exit', release)
    if (signal.aborted) this.#onAbort()
    this.#told.promise.catch(() => {}) // Heard by whoever asks next.
    signal.addEventListener('abort', this.#onAbort, { once: true })
    const died = (cause: unknown) =>
      this.#told.reject(new PurserError('internal', 'the thread that copies has ended', { cause }))
    this.#thread.on('error', died).on('exit', died)
    this.#thread.on('message', (message: FromCopyThread) => {
      if ('error' in message) this.#told.reject(PurserError.fromBody(message.error))
      else this.#told.resolve(message)
    })
  }

  /** What it says next. */
  next(): Promise<Told> {
    return this.#told.promise
  }

  /** Lets it go on after a piece. */
  taken(): void {
    if (this.#signal.aborted) return
    this.#told = Promise.withResolvers()
    this.#told.promise.catch(() => {})
    this.#thread.postMessage('taken')
  }

  /** Not waited for: one that hangs in the kernel ends when that lets it go. */
  [Symbol.dispose](): void {
    this.#signal.removeEventListener('abort', this.#onAbort)
    void this.#thread.terminate()
    this.#thread.unref()
  }
}
