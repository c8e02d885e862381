import { closeSync, fstatSync, lstatSync, readlinkSync, type Stats } from 'node:fs'
import { type ByteString, cPath, fsPath } from '../host/byte-paths.ts'
import { errnoOf, mkdirat, O, openat, openat2, RESOLVE, type Timespec, timespecOfNs } from '../host/syscalls.ts'
import { malformed } from './tar/header.ts'

/** An open directory below the root of the extraction. */
export interface Directory {
  readonly fd: number
  /** Device and inode: one key per directory, whatever path led to it. Empty unless `existing` is kept. */
  readonly key: string
  /** Known once it has been asked for. */
  resolvedPath?: ByteString
}

/** What stands in the way when a parent has to be made. */
export type Obstacle = { directory: Directory; name: ByteString }

export interface ParentHooks {
  /** A parent had no entry of its own and has been made. @param path resolved, no symlinks in it */
  made(parent: Directory, name: ByteString, path: ByteString, throughSymlink: 'direct' | 'through-symlink'): void
  /** Something that is neither directory nor symlink stands where a parent is needed; it has to go. */
  clear(obstacle: Obstacle): void
  /** A directory has been opened, maybe again; only while existing ones are tracked. */
  opened(directory: Directory, path: () => ByteString, mtime: Timespec): void
}

const OPEN_MAX = 128
const SYMLINKS_MAX = 255
const BENEATH = RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS

/** The path of an entry in an open directory; the kernel resolves nothing but the entry's name. */
export const procPath = (directory: Directory, name: ByteString): ByteString => `/proc/self/fd/${directory.fd}/${name}`

export const lstatIn = (directory: Directory, name: ByteString) =>
  lstatSync(fsPath(procPath(directory, name)), { throwIfNoEntry: false })

/** How overlayfs writes that there is nothing. */
export const isWhiteoutDevice = (stat: Stats): boolean => stat.isCharacterDevice() && stat.rdev === 0

/**
 * Directories below one root. Every path is resolved by the kernel with the root as `/` (RESOLVE_IN_ROOT), so that
 * neither `..` nor any symlink leads out of it, as containerd's fs.RootPath does it by hand.
 */
export class Directories implements Disposable {
  readonly root: Directory
  readonly #open = new Map<ByteString, Directory>()
  readonly #hooks: ParentHooks
  readonly #tracking: 'track-existing' | 'all-new'
  #isStale = false

  constructor(target: string, tracking: 'track-existing' | 'all-new', hooks: ParentHooks) {
    this.#hooks = hooks
    this.#tracking = tracking
    const fd = openat(-100, target, O.PATH | O.DIRECTORY)
    this.root = this.#describe(fd, () => '')
  }

  /** The directory at the path, symlinks resolved within the root; undefined when it is not there. */
  find(path: ByteString): Directory | undefined {
    if (path === '') return this.root
    const known = this.#open.get(path)
    if (known) {
      this.#open.delete(path)
      this.#open.set(path, known)
      return known
    }
    let fd: number
    try {
      fd = openat2(this.root.fd, cPath(path), O.PATH | O.DIRECTORY, BENEATH)
    } catch (error) {
      const errno = errnoOf(error)
      if (errno === 'ENOENT' || errno === 'ENOTDIR' || errno === 'ELOOP') return undefined
      throw error
    }
    const directory = this.#describe(fd, () => this.#pathOf(fd))
    this.#open.set(path, directory)
    if (this.#open.size > OPEN_MAX) this.#closeOldest()
    return directory
  }

  /** The directory at the path, made with its parents where it is not there; a file in its place goes. */
  findOrMake(path: ByteString): Directory {
    const directory = this.#findOrMake(path, 'clear')
    if (!directory) throw malformed('its directory cannot be made', path)
    return directory
  }

  /** As findOrMake, but undefined where a file is in the way: it stays. */
  findOrMakeUnlessBlocked(path: ByteString): Directory | undefined {
    return this.#findOrMake(path, 'leave')
  }

  #findOrMake(path: ByteString, obstacles: 'clear' | 'leave'): Directory | undefined {
    const found = this.find(path)
    if (found) return found
    const resolved = this.#make(path, obstacles)
    return resolved === undefined ? undefined : this.find(resolved)
  }

  /** A directory or symlink has been replaced: paths may lead elsewhere from the next entry on. */
  invalidate(): void {
    this.#isStale = true
  }

  /** Between entries, when nobody holds a directory: closes those that may be out of date. */
  refresh(): void {
    if (!this.#isStale) return
    this.#isStale = false
    this.#closeAll()
  }

  #closeAll(): void {
    for (const directory of this.#open.values()) closeSync(directory.fd)
    this.#open.clear()
  }

  /** The path of an open directory below the root, without symlinks. */
  resolvedPath(directory: Directory): ByteString {
    directory.resolvedPath ??= this.#pathOf(directory.fd)
    return directory.resolvedPath
  }

  #pathOf(fd: number): ByteString {
    const read = (of: number) => readlinkSync(`/proc/self/fd/${of}`, 'latin1')
    const root = read(this.root.fd)
    return read(fd).slice(root === '/' ? 1 : root.length + 1)
  }

  [Symbol.dispose](): void {
    this.#closeAll()
    closeSync(this.root.fd)
  }

  #describe(fd: number, path: () => ByteString): Directory {
    if (this.#tracking === 'all-new') return { fd, key: '' }
    const { dev, ino, mtimeNs } = fstatSync(fd, { bigint: true })
    const directory = { fd, key: `${dev}:${ino}` }
    this.#hooks.opened(directory, path, timespecOfNs(mtimeNs))
    return directory
  }

  #closeOldest(): void {
    const oldest = this.#open.entries().next()
    if (oldest.done) return
    const [path, directory] = oldest.value
    this.#open.delete(path)
    closeSync(directory.fd)
  }

  /** Walks by hand, symlinks resolved within the root, and makes what is missing. @returns the path without symlinks */
  #make(path: ByteString, obstacles: 'clear' | 'leave'): ByteString | undefined {
    const pending = path.split('/').reverse()
    const resolved: ByteString[] = []
    let symlinks = 0
    for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
      if (name === '' || name === '.') continue
      if (name === '..') {
        resolved.pop()
        continue
      }
      const directory = this.find(resolved.join('/'))
      if (!directory) throw malformed('its directory cannot be found', path)
      const stat = lstatIn(directory, name)
      if (stat?.isSymbolicLink()) {
        symlinks += 1
        if (symlinks > SYMLINKS_MAX) throw malformed('its directory is behind too many symlinks', path)
        const target = readlinkSync(fsPath(procPath(directory, name)), 'latin1')
        if (target.startsWith('/')) resolved.length = 0
        pending.push(...target.split('/').reverse())
        continue
      }
      resolved.push(name)
      if (stat?.isDirectory()) continue
      const made = resolved.join('/')
      if (stat && obstacles === 'leave' && !isWhiteoutDevice(stat)) return undefined
      if (stat) this.#hooks.clear({ directory, name })
      else {
        mkdirat(directory.fd, cPath(name), 0o755)
        this.#hooks.made(directory, name, made, symlinks > 0 ? 'through-symlink' : 'direct')
      }
    }
    return resolved.join('/')
  }
}
