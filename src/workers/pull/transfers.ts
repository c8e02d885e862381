import { Semaphore } from '../../model/concurrency.ts'
import type { Digest } from '../../model/digest.ts'

/** One transfer a digest, and so many on the node, however many pulls want them; who waited finds the blob there. */
export class Transfers {
  readonly #slots: Semaphore
  readonly #byDigest = new Map<Digest, Semaphore>()
  readonly #users = new Map<Digest, number>()

  constructor(concurrency: number) {
    this.#slots = new Semaphore(concurrency)
  }

  async run<T>(digest: Digest, signal: AbortSignal, transfer: () => Promise<T>): Promise<T> {
    const own = this.#byDigest.get(digest) ?? new Semaphore(1)
    this.#byDigest.set(digest, own)
    this.#users.set(digest, (this.#users.get(digest) ?? 0) + 1)
    try {
      using _own = await own.acquire(signal)
      using _slot = await this.#slots.acquire(signal)
      return await transfer()
    } finally {
      const users = (this.#users.get(digest) ?? 1) - 1
      if (users > 0) this.#users.set(digest, users)
      else {
        this.#users.delete(digest)
        this.#byDigest.delete(digest)
      }
    }
  }
}
