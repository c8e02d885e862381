import { closeSync, openSync } from 'node:fs'
import { lstat, mkdir, opendir, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { removeTreeAt } from '../host/remove-tree.ts'
import { errnoOf, syncfs } from '../host/syscalls.ts'
import { PurserError } from '../model/errors.ts'

const TRASH = 'trash-'
const ID = /^[0-9a-z]+$/

async function removeTree(root: string, name: string): Promise<void> {
  try {
    await rm(join(root, name), { recursive: true, force: true })
  } catch (error) {
    if (errnoOf(error) !== 'ENAMETOOLONG') throw error
    // What lies so deep that no path leads there is removed from the directory that it is in.
    const fd = openSync(root, 'r')
    try {
      removeTreeAt(fd, name)
    } finally {
      closeSync(fd)
    }
  }
}

/** The directories of a snapshotter, one an id. What is being removed has a name that is no id. */
export class SnapshotDirectories {
  readonly #root: string

  private constructor(root: string) {
    this.#root = root
  }

  /** Clears away what a crash left half removed. */
  static async open(root: string): Promise<SnapshotDirectories> {
    await mkdir(root, { recursive: true, mode: 0o700 })
    for (const name of await readdir(root)) {
      if (name.startsWith(TRASH)) await removeTree(root, name)
    }
    return new SnapshotDirectories(root)
  }

  path(id: string): string {
    if (ID.test(id)) return join(this.#root, id)
    throw new PurserError('invalid_argument', `${JSON.stringify(id)} is no name of a snapshot directory`)
  }

  async list(): Promise<string[]> {
    return (await readdir(this.#root)).filter((name) => ID.test(name))
  }

  /** Gone for readers at once, from the disk when this returns. */
  async remove(id: string): Promise<void> {
    const trash = join(this.#root, `${TRASH}${id}`)
    try {
      await rename(this.path(id), trash)
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
    }
    await removeTree(this.#root, `${TRASH}${id}`)
  }

  /** Bytes allocated and inodes below a directory; hard links count once. */
  async usage(path: string, signal: AbortSignal): Promise<{ sizeBytes: number; inodes: number }> {
    const seen = new Set<string>()
    let sizeBytes = 0
    for await (const entry of await opendir(path, { recursive: true, bufferSize: 512 })) {
      signal.throwIfAborted()
      const status = await lstat(join(entry.parentPath, entry.name)).catch(() => undefined)
      if (!status) continue
      const inode = `${status.dev}:${status.ino}`
      if (status.nlink > 1 && seen.has(inode)) continue
      seen.add(inode)
      sizeBytes += status.blocks * 512
    }
    return { sizeBytes, inodes: seen.size }
  }

  async sync(id: string, signal: AbortSignal): Promise<void> {
    const fd = openSync(this.path(id), 'r')
    try {
      await syncfs(fd, signal)
    } finally {
      closeSync(fd)
    }
  }
}
