import { statfs } from 'node:fs/promises'
import { PurserError, toPurserError } from '../model/errors.ts'

export interface DiskSpaceOptions {
  /** A directory on the file system. */
  path: string
  /** What is never given away: so many bytes, or where that is more a share of the file system. */
  floor: { bytes: number; shareMax: number }
}

/** Space that is to be written to. Disposed, what was not is for others again. */
export interface ReservedSpace extends Disposable {
  /** So much of it is used by now: it counts as the file system's own from here on. */
  used(bytes: number): void
  readonly bytes: number
  /** Promises more, if not as much as could be used, then what there is. @returns how much it is now in all @throws PurserError resource_exhausted */
  extend(atLeastBytes: number, atMostBytes: number): Promise<number>
}

/**
 * Space on a file system that is promised before it is written, so that it never fills: what is free, without a floor and
 * what has been promised to others.
 */
export class DiskSpace {
  readonly #options: DiskSpaceOptions
  readonly #reserved = new Set<Reserved>()

  constructor(options: DiskSpaceOptions) {
    this.#options = options
  }

  /**
   * Promises all of it or nothing.
   *
   * @param what needs it, as the subject of a sentence
   * @returns one for each of the sizes
   * @throws PurserError resource_exhausted that says how much is needed and how much is free
   */
  async reserve(what: string, sizesBytes: readonly number[]): Promise<ReservedSpace[]> {
    const sum = sizesBytes.reduce((all, size) => all + size, 0)
    await this.#promise(what, sum, sum)
    return sizesBytes.map((bytes) => {
      const reserved = new Reserved(bytes, {
        more: (atLeast, atMost) => this.#promise(what, atLeast, atMost, 'more '),
        release: () => this.#reserved.delete(reserved),
      })
      this.#reserved.add(reserved)
      return reserved
    })
  }

  /** What can be promised now. */
  async available(): Promise<{ bytes: number; freeBytes: number; floorBytes: number }> {
    const { bavail, blocks, bsize } = await statfs(this.#options.path).catch((error) => {
      throw toPurserError(error)
    })
    const { bytes: floorMax, shareMax } = this.#options.floor
    const freeBytes = bavail * bsize
    const floorBytes = Math.floor(Math.min(floorMax, blocks * bsize * shareMax))
    let promised = 0
    for (const { leftBytes } of this.#reserved) promised += leftBytes
    return { bytes: freeBytes - floorBytes - promised, freeBytes, floorBytes }
  }

  async #promise(what: string, neededBytes: number, atMostBytes: number, more = ''): Promise<number> {
    if (neededBytes === 0) return 0
    const { bytes, freeBytes, floorBytes } = await this.available()
    if (neededBytes <= bytes) return Math.min(bytes, atMostBytes)
    const promised = freeBytes - floorBytes - bytes
    const others = promised > 0 ? ` and ${promised} are reserved` : ''
    throw new PurserError(
      'resource_exhausted',
      `${what} needs ${neededBytes} ${more}bytes of disk space: ${freeBytes} are free, of which ${floorBytes} stay free${others}`,
      { remedy: `free space on the disk that holds ${this.#options.path}: purser rmi, purser gc` },
    )
  }
}

interface Owner {
  /** @returns how much more it is */
  more: (atLeastBytes: number, atMostBytes: number) => Promise<number>
  release: () => void
}

class Reserved implements ReservedSpace {
  readonly #owner: Owner
  #bytes: number
  #usedBytes = 0

  constructor(bytes: number, owner: Owner) {
    this.#bytes = bytes
    this.#owner = owner
  }

  get bytes(): number {
    return this.#bytes
  }

  get leftBytes(): number {
    return Math.max(0, this.#bytes - this.#usedBytes)
  }

  used(bytes: number): void {
    this.#usedBytes = Math.max(this.#usedBytes, bytes)
  }

  async extend(atLeastBytes: number, atMostBytes: number): Promise<number> {
    const atMost = Math.max(atLeastBytes, atMostBytes) - this.#bytes
    this.#bytes += await this.#owner.more(Math.max(0, atLeastBytes - this.#bytes), atMost)
    return this.#bytes
  }

  [Symbol.dispose](): void {
    this.#bytes = 0
    this.#owner.release()
  }
}
