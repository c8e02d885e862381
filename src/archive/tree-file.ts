import { type FileHandle, open } from 'node:fs/promises'
import { HASH_BYTES } from './merkle.ts'

/** Leaves under one hash of the file `tree`: enough that it is small, few enough that a proof reads little. */
export const TILE_LEAVES = 256

/**
 * The hashes over each complete run of 256 events, one after the other: the tree's lower levels can be had from the
 * segments again, its upper ones from these.
 */
export class TreeFile implements AsyncDisposable {
  readonly #file: FileHandle

  private constructor(file: FileHandle) {
    this.#file = file
  }

  static async open(path: string, mode: 'read' | 'write'): Promise<TreeFile> {
    return new TreeFile(await open(path, mode === 'read' ? 'r' : 'a+', 0o600))
  }

  async count(): Promise<number> {
    return Math.floor((await this.#file.stat()).size / HASH_BYTES)
  }

  /** @param index of the first hash */
  async *read(index = 0, count = Number.POSITIVE_INFINITY): AsyncGenerator<Buffer> {
    const chunk = Buffer.alloc(2048 * HASH_BYTES)
    let left = count
    for (let at = index; left > 0; ) {
      const wanted = Math.min(chunk.length, left * HASH_BYTES)
      const { bytesRead } = await this.#file.read(chunk, 0, wanted, at * HASH_BYTES)
      const hashes = Math.floor(bytesRead / HASH_BYTES)
      if (hashes === 0) return
      for (let each = 0; each < hashes; each++)
        yield Buffer.from(chunk.subarray(each * HASH_BYTES, (each + 1) * HASH_BYTES))
      at += hashes
      left -= hashes
    }
  }

  /** Durable on return. @param from where the first hash goes; what the file holds beyond it is dropped */
  async writeFrom(from: number, hashes: readonly Buffer[]): Promise<void> {
    await this.#file.truncate(from * HASH_BYTES)
    if (hashes.length > 0) await this.#file.appendFile(Buffer.concat(hashes))
    await this.#file.datasync()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#file.close()
  }
}
