import type { JobControl } from './protocol.ts'

const SEQUENCE = 0 // Int32: rises with every change, so that no wake-up is lost
const FAILED = 1 // Int32: 1 once the download has failed
const TOTAL = 1 // BigInt64 at byte 8

/**
 * How many bytes of a growing file are there. The main thread downloads and advances; a worker thread waits for more
 * through shared memory, without messages.
 */
export class AvailableBytes {
  readonly shared = new SharedArrayBuffer(16)
  readonly #words = new Int32Array(this.shared)
  readonly #longs = new BigInt64Array(this.shared)
  #failure: unknown
  #watchers: (() => void)[] = []

  get total(): number {
    return Number(Atomics.load(this.#longs, TOTAL))
  }

  get failure(): unknown {
    return this.#failure
  }

  /** @param total bytes from the start of the file that are written and will not change */
  advance(total: number): void {
    Atomics.store(this.#longs, TOTAL, BigInt(total))
    this.wake()
  }

  /** No more bytes will come: the extraction ends with this error. */
  fail(error: unknown): void {
    this.#failure = error
    Atomics.store(this.#words, FAILED, 1)
    this.wake()
  }

  /** Lets a waiting worker look again, also at whether it has been cancelled. */
  wake(): void {
    Atomics.add(this.#words, SEQUENCE, 1)
    Atomics.notify(this.#words, SEQUENCE)
    for (const watcher of this.#watchers) watcher()
  }

  /** Calls back on this thread after every change, until disposed. */
  watch(callback: () => void): Disposable {
    this.#watchers.push(callback)
    return {
      [Symbol.dispose]: () => {
        this.#watchers = this.#watchers.filter((each) => each !== callback)
      },
    }
  }
}

/** The worker's side of AvailableBytes. */
export class AvailableBytesReader {
  readonly #words: Int32Array
  readonly #longs: BigInt64Array

  constructor(shared: SharedArrayBuffer) {
    this.#words = new Int32Array(shared)
    this.#longs = new BigInt64Array(shared)
  }

  /**
   * Blocks the thread until there are more than `beyond` bytes.
   *
   * @param control its cancellation is looked at before each wait, and whoever cancels calls `wake`; it is told of waits
   * @returns bytes there are; undefined when the download failed or the work was cancelled
   */
  waitBeyond(beyond: number, control: Pick<JobControl, 'isCancelled' | 'setWaiting'>): number | undefined {
    for (;;) {
      const sequence = Atomics.load(this.#words, SEQUENCE)
      if (control.isCancelled() || Atomics.load(this.#words, FAILED) === 1) return undefined
      const total = Number(Atomics.load(this.#longs, TOTAL))
      if (total > beyond) return total
      control.setWaiting('for-bytes')
      Atomics.wait(this.#words, SEQUENCE, sequence)
      control.setWaiting('not')
    }
  }
}
