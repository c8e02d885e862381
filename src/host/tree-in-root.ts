import { closeSync, type Dirent, fstatSync, readdirSync, type Stats } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { AT_FDCWD, errnoOf, O, openat, openat2, RESOLVE } from './syscalls.ts'

/** A regular file that was found, open for nothing but its name. */
export interface FoundFile {
  /** Below the root, as it was walked to. */
  path: string
  stats: Stats
  /** To read. The file is the one that was found, whatever has its name by now. */
  open(): Promise<FileHandle>
}

const WITHIN = RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS
const DEPTH_MAX = 128

/**
 * A tree that somebody else has written, read from outside. Every path is resolved by the kernel with the root as `/`, so that
 * neither `..` nor a symlink leads out of it, and nothing but regular files is ever opened to be read.
 */
export class TreeInRoot implements Disposable {
  readonly #fd: number
  /** What was left out: links that lead to no file, devices, sockets, FIFOs, names that are not UTF-8. */
  skipped = 0

  constructor(root: string) {
    this.#fd = openat(AT_FDCWD, root, O.PATH | O.DIRECTORY | O.NOFOLLOW)
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd)
  }

  /**
   * The regular files at a path: itself, or all below it, in the order of names. A symlink stands for the file that it leads
   * to; one to a directory is followed for the path itself alone, so that no walk is endless.
   *
   * @returns undefined when nothing is there
   */
  files(path: string): Iterable<FoundFile> | undefined {
    const fd = this.#find(path, O.PATH)
    return fd === undefined ? undefined : this.#walk(fd, path, 0)
  }

  *#walk(fd: number, path: string, depth: number): Generator<FoundFile> {
    let names: Dirent<Buffer>[] = []
    try {
      const stats = fstatSync(fd)
      if (stats.isFile()) {
        yield { path, stats, open: () => open(`/proc/self/fd/${fd}`, 'r') }
        return
      }
      if (!stats.isDirectory() || depth > DEPTH_MAX) {
        this.skipped += 1
        return
      }
      names = readdirSync(`/proc/self/fd/${fd}`, { withFileTypes: true, encoding: 'buffer' })
    } finally {
      closeSync(fd)
    }
    names.sort((a, b) => Buffer.compare(a.name, b.name))
    for (const entry of names) {
      const name = entry.name.toString()
      const at = `${path}/${name}`
      const isText = Buffer.from(name).equals(entry.name)
      const found = isText && (entry.isFile() || entry.isDirectory() || entry.isSymbolicLink())
      const next = found ? this.#find(at, entry.isSymbolicLink() ? O.PATH : O.PATH | O.NOFOLLOW) : undefined
      if (next === undefined) this.skipped += 1
      else if (entry.isSymbolicLink() && !fstatSync(next).isFile()) {
        closeSync(next)
        this.skipped += 1
      } else yield* this.#walk(next, at, depth + 1)
    }
  }

  #find(path: string, flags: number): number | undefined {
    try {
      return openat2(this.#fd, path, flags, WITHIN)
    } catch (error) {
      const errno = errnoOf(error)
      if (errno === 'ENOENT' || errno === 'ENOTDIR' || errno === 'ELOOP' || errno === 'ENAMETOOLONG') return undefined
      throw error
    }
  }
}
