import type { ByteString } from '../host/byte-paths.ts'
import type { Digest, DigestAlgorithm } from '../model/digest.ts'
import type { ErrorBody } from '../model/errors.ts'
import type { LayerLimits } from './limits.ts'

/**
 * What becomes of whiteouts. `overlay`: the layer is alone in its directory and they become overlayfs's own marks;
 * `apply`: the directory has the files of the layers below, and they are deleted; `ignore`: nothing is below; `literal`: it is
 * no layer, and names that begin with `.wh.` are names.
 *
 * @see image-spec, layer.md, "Whiteouts"
 */
export type Whiteouts = 'overlay' | 'apply' | 'ignore' | 'literal'

/** A layer to read, and where to put it. */
export interface LayerJob {
  path: string
  /** Bytes of the whole file, also while it is still growing. */
  sizeBytes: number
  algorithm: DigestAlgorithm
  /** Where a growing file says how much of it is there; undefined when it is complete. */
  available: SharedArrayBuffer | undefined
  /** Cancellation and progress, see JobControl. */
  control: SharedArrayBuffer
  /** Undefined: only the digests are wanted. */
  target: string | undefined
  whiteouts: Whiteouts
  limits: LayerLimits
}

export interface LayerResult {
  /** Of the file as it is. */
  digest: Digest
  /** sha256 of the tar. @see image-spec, config.md, "Layer DiffID" */
  diffId: Digest
  sizeBytes: number
  tarBytes: number
  entries: number
  /** Bytes of file content written, without holes. */
  unpackedBytes: number
  /** Directories, as byte strings, that entries needed and the layer has no entry for; '' is the root. */
  implicitParents: ByteString[]
  /** Overlay whiteouts made, as byte strings. */
  whiteouts: ByteString[]
  /** Why the layer cannot be extracted alone: nothing of the target may be used then. */
  needsParents?: NeedsParentsReason
  /** Names of extended attributes that the target's file system does not take. */
  skippedXattrs: string[]
}

export interface NeedsParentsReason {
  reason: 'hard-link' | 'symlink' | 'late-directory' | 'late-whiteout' | 'opaque-root' | 'refused'
  path: ByteString
}

export type ToWorker = { job: LayerJob }
export type FromWorker = { result: LayerResult } | { error: ErrorBody; cause: string }

const CANCELLED = 0
const TAR_BYTES = 1
const ENTRIES = 2
const ROOM = 3
const WAITING = 4
const UNBOUNDED = 2n ** 62n
/** How long a worker waits for room before it looks whether it has been cancelled. */
const ROOM_WAIT_MS = 100

/** Words shared with a running job: the pool cancels and looks at progress, the worker obeys and reports. */
export class JobControl {
  readonly shared: SharedArrayBuffer
  readonly #longs: BigInt64Array

  constructor(shared?: SharedArrayBuffer) {
    this.shared = shared ?? new SharedArrayBuffer(40)
    this.#longs = new BigInt64Array(this.shared)
    if (!shared) this.#longs[ROOM] = UNBOUNDED
  }

  cancel(): void {
    Atomics.store(this.#longs, CANCELLED, 1n)
  }

  isCancelled(): boolean {
    return Atomics.load(this.#longs, CANCELLED) === 1n
  }

  /** Said by the worker: its thread does nothing meanwhile. */
  setWaiting(state: 'for-bytes' | 'not'): void {
    Atomics.store(this.#longs, WAITING, state === 'not' ? 0n : 1n)
  }

  isWaiting(): boolean {
    return Atomics.load(this.#longs, WAITING) === 1n
  }

  /** Lets the worker go on up to so many bytes of the tar. */
  giveRoom(tarBytes: number): void {
    Atomics.store(this.#longs, ROOM, BigInt(tarBytes))
    Atomics.notify(this.#longs, ROOM)
  }

  /** Blocks the worker's thread until it may write so many bytes of the tar, or is cancelled. */
  waitForRoom(tarBytes: number): void {
    for (;;) {
      const room = Atomics.load(this.#longs, ROOM)
      if (room >= tarBytes || this.isCancelled()) return
      Atomics.wait(this.#longs, ROOM, room, ROOM_WAIT_MS)
    }
  }

  report(tarBytes: number, entries: number): void {
    Atomics.store(this.#longs, TAR_BYTES, BigInt(tarBytes))
    Atomics.store(this.#longs, ENTRIES, BigInt(entries))
  }

  progress(): { tarBytes: number; entries: number } {
    return {
      tarBytes: Number(Atomics.load(this.#longs, TAR_BYTES)),
      entries: Number(Atomics.load(this.#longs, ENTRIES)),
    }
  }
}
