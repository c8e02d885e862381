import { closeSync, fstatSync, ftruncateSync, type Stats, writeSync } from 'node:fs'
import { type ByteString, cPath, printable } from '../host/byte-paths.ts'
import { removeTreeAt } from '../host/remove-tree.ts'
import * as sys from '../host/syscalls.ts'
import { setXattr, setXattrOfFd } from '../host/xattrs.ts'
import { PurserError, toPurserError } from '../model/errors.ts'
import { XattrWriter } from './attributes.ts'
import { Directories, type Directory, isWhiteoutDevice, lstatIn, procPath } from './directories.ts'
import type { DevicePolicy } from './limits.ts'
import { OwnEntries } from './own-entries.ts'
import { cleanPath, parseWhiteout, splitPath } from './paths.ts'
import type { NeedsParentsReason, Whiteouts } from './protocol.ts'
import { malformed, type TarEntry } from './tar/header.ts'
import type { TarSink } from './tar/reader.ts'

/** Thrown when the layer refers to what only the layers below have. */
export class NeedsParents extends Error {
  readonly reason: NeedsParentsReason

  constructor(reason: NeedsParentsReason['reason'], path: ByteString) {
    super(`the layer needs its parents: ${reason} at ${printable(path)}`)
    this.reason = { reason, path }
  }
}

const OPAQUE_XATTR = 'trusted.overlay.opaque'
const YES = Buffer.from('y')
const FILE_FLAGS = sys.O.CREAT | sys.O.EXCL | sys.O.WRONLY | sys.O.NOFOLLOW

/** ENOENT: a hard link that replaces the directory which its target was in. */
const LAYERS_FAULT = new Set(['ENOENT', 'ENAMETOOLONG', 'E2BIG', 'EFBIG', 'ERANGE', 'EINVAL', 'ELOOP'])

/** Writes the entries of a tar below a directory, and nothing anywhere else. */
export class TreeWriter implements TarSink, Disposable {
  unpackedBytes = 0
  readonly implicitParents = new Set<ByteString>([''])
  readonly whiteoutsMade = new Set<ByteString>()
  readonly xattrs = new XattrWriter()
  readonly #mode: Whiteouts
  /** Whether there may be files in the tree that the tar has not brought. */
  readonly #isOntoOthers: boolean
  readonly #devices: DevicePolicy
  readonly #directories: Directories
  /** Times of directories, set when all is written; by key in apply mode, else by path. */
  readonly #times = new Map<string, { path: ByteString; time: sys.Timespec }>()
  readonly #own = new OwnEntries(
    (directory, name) => this.#remove(directory, name),
    (directory, time) => this.#keepTime(directory.key, () => this.#directories.resolvedPath(directory), time),
  )
  readonly #opaque = new Set<ByteString>()
  #entry: TarEntry | undefined
  #fd = -1

  constructor(target: string, mode: Whiteouts, devices: DevicePolicy) {
    this.#mode = mode
    this.#isOntoOthers = mode === 'apply' || mode === 'literal'
    this.#devices = devices
    this.#directories = new Directories(target, this.#isOntoOthers ? 'track-existing' : 'all-new', {
      made: (parent, name, path, how) => this.#parentMade(parent, name, path, how),
      clear: (obstacle) => this.#clearForParent(obstacle.directory, obstacle.name),
      // A layer leaves a directory of the layers below as old as it was; whoever writes into it otherwise does not.
      opened: ({ key }, path, time) => mode === 'apply' && this.#keepTime(key, path, time),
    })
  }

  entry(entry: TarEntry): void {
    this.#entry = entry
    this.#directories.refresh()
    try {
      this.#write(entry)
    } catch (error) {
      const explained = this.#explain(error, entry)
      // What is wrong with it by itself, such as a hard link to a directory, may be right on top of its parents.
      if (this.#mode === 'overlay' && explained instanceof PurserError && explained.code === 'data_loss')
        throw new NeedsParents('refused', entry.path)
      throw explained
    }
  }

  data(piece: Buffer, position: number): void {
    if (this.#fd < 0) return
    try {
      // Holes are left by position; other files are written one piece after the other.
      const at = this.#entry?.sparse ? position : null
      let done = writeSync(this.#fd, piece, 0, piece.length, at)
      while (done < piece.length) {
        done += writeSync(this.#fd, piece, done, piece.length - done, at === null ? null : at + done)
      }
      this.unpackedBytes += piece.length
    } catch (error) {
      throw this.#explain(error, this.#entry)
    }
  }

  entryEnd(): void {
    const entry = this.#entry
    if (this.#fd < 0 || !entry) return
    try {
      const fd = this.#fd
      if (entry.sparse) ftruncateSync(fd, entry.sizeBytes)
      // Owner first: a change of owner takes setuid, setgid and capabilities away. @see chown(2)
      sys.fchown(fd, entry.uid, entry.gid)
      if (entry.xattrs.size > 0) this.xattrs.write(entry, (name, value) => setXattrOfFd(fd, name, value))
      sys.fchmod(fd, entry.mode)
      sys.futimens(fd, entry.mtime)
    } catch (error) {
      throw this.#explain(error, entry)
    } finally {
      this.#closeFile()
    }
  }

  /** Sets the times of directories, which writing into them has changed. */
  finish(): void {
    for (const [key, { path, time }] of this.#times) {
      let fd: number
      try {
        // Noted without symlinks: one on the way now has replaced a directory, and leads to another.
        const resolve = sys.RESOLVE.IN_ROOT | sys.RESOLVE.NO_SYMLINKS
        fd = sys.openat2(this.#directories.root.fd, cPath(path || '.'), sys.O.DIRECTORY, resolve)
      } catch (error) {
        const errno = sys.errnoOf(error)
        if (errno === 'ENOENT' || errno === 'ENOTDIR' || errno === 'ELOOP') continue // A later entry replaced it.
        throw error
      }
      try {
        if (!this.#isOntoOthers || this.#needsTime(fd, key, time)) sys.futimens(fd, time)
      } finally {
        closeSync(fd)
      }
    }
  }

  [Symbol.dispose](): void {
    this.#closeFile()
    this.#directories[Symbol.dispose]()
  }

  #needsTime(fd: number, key: string, time: sys.Timespec): boolean {
    const { dev, ino, mtimeNs } = fstatSync(fd, { bigint: true })
    const now = sys.timespecOfNs(mtimeNs)
    const isSame = now.seconds === time.seconds && now.nanoseconds === time.nanoseconds
    return `${dev}:${ino}` === key && !isSame
  }

  #closeFile(): void {
    if (this.#fd < 0) return
    closeSync(this.#fd)
    this.#fd = -1
  }

  #write(entry: TarEntry): void {
    const path = cleanPath(entry.path)
    if (path.includes('\0')) throw malformed('its name has a zero byte', path)
    if (path === '') {
      this.#writeRoot(entry)
      return
    }
    const { parent, name } = splitPath(path)
    const whiteout = this.#mode === 'literal' ? undefined : parseWhiteout(path, name)
    if (whiteout) {
      if (whiteout.is === 'leftover') return
      const directory = this.#directories.findOrMakeUnlessBlocked(parent)
      if (!directory || this.#mode === 'ignore') return
      if (whiteout.is === 'opaque') this.#makeOpaque(directory, parent)
      else this.#whiteOut(directory, whiteout.of)
      return
    }
    // A character device 0/0 is how overlayfs writes a whiteout; as a file it has no meaning anywhere.
    if (entry.type === 'char' && entry.major === 0 && entry.minor === 0) return
    if ((entry.type === 'char' || entry.type === 'block') && this.#devices !== 'allow') {
      if (this.#devices === 'skip') return
      throw new PurserError('permission_denied', `the layer has the device ${printable(path)}`, {
        remedy: 'set unpack.devices to skip or allow in the configuration if the image can be trusted',
      })
    }
    const directory = this.#directories.findOrMake(parent)
    switch (entry.type) {
      case 'directory':
        this.#writeDirectory(directory, name, entry)
        break
      case 'link':
        this.#writeLink(directory, name, entry)
        break
      case 'file':
        this.#fd = this.#make(directory, name, () => sys.openat(directory.fd, cPath(name), FILE_FLAGS, 0o600))
        break
      default:
        this.#writeSpecial(directory, name, entry)
    }
    this.#noteWritten(directory, name)
  }

  #writeRoot(entry: TarEntry): void {
    if (entry.type !== 'directory') throw malformed('the root is not a directory', entry.path)
    this.implicitParents.delete('')
    this.#setAttributes(this.#directories.root, '.', entry)
    this.#times.set(this.#directories.root.key, { path: '', time: entry.mtime })
  }

  #writeDirectory(directory: Directory, name: ByteString, entry: TarEntry): void {
    let existing: Stats | undefined
    try {
      sys.mkdirat(directory.fd, cPath(name), 0o700)
    } catch (error) {
      if (sys.errnoOf(error) !== 'EEXIST') throw error
      existing = lstatIn(directory, name)
      if (existing?.isDirectory()) this.#checkNotImplicit(directory, name)
      else this.#replaceWithDirectory(directory, name, 0o700)
    }
    if (existing?.isDirectory() && this.#mode !== 'literal') this.xattrs.removeOthers(procPath(directory, name), entry)
    this.#setAttributes(directory, name, entry)
    this.#setTime(directory, name, entry.mtime)
  }

  /** The time of a directory of the layers below, in which something is about to change. */
  #keepTime(key: string, path: () => ByteString, time: sys.Timespec): void {
    if (!this.#times.has(key)) this.#times.set(key, { path: path(), time })
  }

  #setTime(directory: Directory, name: ByteString, time: sys.Timespec): void {
    const path = this.#resolvedPath(directory, name)
    this.#times.set(this.#isOntoOthers ? this.#keyOf(directory, name) : path, { path, time })
  }

  #keyOf(directory: Directory, name: ByteString): string {
    const fd = sys.openat(directory.fd, cPath(name), sys.O.PATH | sys.O.NOFOLLOW)
    try {
      const { dev, ino } = fstatSync(fd, { bigint: true })
      return `${dev}:${ino}`
    } finally {
      closeSync(fd)
    }
  }

  /** Entries before this one may have been meant to go through a symlink of a lower layer, which it then replaces. */
  #checkNotImplicit(directory: Directory, name: ByteString): void {
    if (this.#mode !== 'overlay' || this.implicitParents.size < 2) return
    const path = this.#resolvedPath(directory, name)
    if (this.implicitParents.has(path)) throw new NeedsParents('late-directory', path)
  }

  #writeSpecial(directory: Directory, name: ByteString, entry: TarEntry): void {
    const { fd } = directory
    const cName = cPath(name)
    if (entry.type === 'symlink') {
      if (entry.linkPath === '') throw malformed('a symlink without a target', entry.path)
      this.#make(directory, name, () => sys.symlinkat(cPath(entry.linkPath), fd, cName))
    } else {
      const type = { char: sys.S_IFCHR, block: sys.S_IFBLK, fifo: sys.S_IFIFO }[entry.type as 'char' | 'block' | 'fifo']
      this.#make(directory, name, () => sys.mknodat(fd, cName, type | 0o600, entry.major, entry.minor))
    }
    this.#setAttributes(directory, name, entry)
    sys.lutimesat(fd, cName, entry.mtime)
  }

  #setAttributes(directory: Directory, name: ByteString, entry: TarEntry): void {
    sys.lchownat(directory.fd, cPath(name), entry.uid, entry.gid)
    if (entry.xattrs.size > 0) this.xattrs.writeTo(procPath(directory, name), entry)
    if (entry.type !== 'symlink') sys.lchmodat(directory.fd, cPath(name), entry.mode)
  }

  /** A hard link keeps the attributes of its file, as GNU tar and umoci have it. */
  #writeLink(directory: Directory, name: ByteString, entry: TarEntry): void {
    const targetPath = cleanPath(entry.linkPath)
    const target = splitPath(targetPath)
    const from = this.#directories.find(target.parent)
    const source = from && target.name !== '' ? lstatIn(from, target.name) : undefined
    if (!from || !source || isWhiteoutDevice(source)) {
      if (this.#mode === 'overlay') throw new NeedsParents('hard-link', targetPath)
      throw malformed(`it is a hard link to ${printable(targetPath)}, which is not there`, entry.path)
    }
    if (source.isDirectory()) throw malformed('it is a hard link to a directory', entry.path)
    const existing = lstatIn(directory, name)
    if (existing && existing.ino === source.ino && existing.dev === source.dev) return
    this.#make(directory, name, () => sys.linkat(from.fd, cPath(target.name), directory.fd, cPath(name)))
  }

  /** Makes an entry; what is there already goes first. */
  #make<T>(directory: Directory, name: ByteString, make: () => T): T {
    try {
      return make()
    } catch (error) {
      if (sys.errnoOf(error) !== 'EEXIST') throw error
      this.#remove(directory, name)
      return make()
    }
  }

  #remove(directory: Directory, name: ByteString): void {
    const stat = lstatIn(directory, name)
    if (!stat) return
    if (stat.isDirectory() && this.#mode === 'literal') {
      throw new PurserError('failed_precondition', `${printable(this.#resolvedPath(directory, name))} is a directory`, {
        remedy: 'name another target, or remove the directory first',
      })
    }
    if (stat.isDirectory() || stat.isSymbolicLink()) this.#directories.invalidate()
    if (stat.isDirectory()) removeTreeAt(directory.fd, name)
    else sys.unlinkat(directory.fd, cPath(name))
    this.#own.delete(directory, name)
  }

  #replaceWithDirectory(directory: Directory, name: ByteString, mode: number): void {
    if (this.#mode === 'literal') {
      const path = printable(this.#resolvedPath(directory, name))
      throw new PurserError('failed_precondition', `${path} is there, and is no directory`, {
        remedy: 'name another target, or remove it first',
      })
    }
    this.#remove(directory, name)
    sys.mkdirat(directory.fd, cPath(name), mode)
    // What it replaces hid the lower layers' directory of this name; the new directory has to hide it as well.
    if (this.#mode !== 'overlay') return
    setXattr(procPath(directory, name), OPAQUE_XATTR, YES)
    const path = this.#resolvedPath(directory, name)
    if (this.implicitParents.has(path)) throw new NeedsParents('late-directory', path)
    this.#opaque.add(path)
    this.whiteoutsMade.delete(path)
  }

  #parentMade(parent: Directory, name: ByteString, path: ByteString, how: 'direct' | 'through-symlink'): void {
    if (this.#mode === 'overlay') {
      if (how === 'through-symlink') throw new NeedsParents('symlink', path)
      if (!this.#isBelowOpaque(path)) this.implicitParents.add(path)
    }
    this.#givePlainAttributes(parent, name)
  }

  #clearForParent(directory: Directory, name: ByteString): void {
    this.#replaceWithDirectory(directory, name, 0o755)
    this.#givePlainAttributes(directory, name)
  }

  /** A parent without an entry is root's, also in a directory that hands its group on, and as old as its first entry. */
  #givePlainAttributes(directory: Directory, name: ByteString): void {
    sys.lchownat(directory.fd, cPath(name), 0, 0)
    sys.lchmodat(directory.fd, cPath(name), 0o755)
    this.#setTime(directory, name, this.#entry?.mtime ?? { seconds: 0, nanoseconds: 0 })
    this.#noteWritten(directory, name)
  }

  #isBelowOpaque(path: ByteString): boolean {
    if (this.#opaque.size === 0) return false
    for (let at = path.lastIndexOf('/'); at > 0; at = path.lastIndexOf('/', at - 1)) {
      if (this.#opaque.has(path.slice(0, at))) return true
    }
    return false
  }

  #makeOpaque(directory: Directory, path: ByteString): void {
    if (this.#mode === 'apply') {
      this.#own.removeOthersIn(directory)
      return
    }
    // overlayfs merges the roots of its layers whatever their attributes say.
    if (path === '') throw new NeedsParents('opaque-root', path)
    setXattr(`/proc/self/fd/${directory.fd}/.`, OPAQUE_XATTR, YES)
    const resolved = this.#directories.resolvedPath(directory)
    this.#checkNoneImplicitBelow(resolved)
    this.#opaque.add(resolved)
    for (const whiteout of this.whiteoutsMade) {
      if (whiteout.startsWith(`${resolved}/`)) this.#removeWhiteout(whiteout)
    }
  }

  /** In a directory that hides the lower ones by itself, overlayfs would show a whiteout as a broken entry. */
  #removeWhiteout(path: ByteString): void {
    const { parent, name } = splitPath(path)
    const directory = this.#directories.find(parent)
    const stat = directory && lstatIn(directory, name)
    if (directory && stat && isWhiteoutDevice(stat)) sys.unlinkat(directory.fd, cPath(name))
    this.whiteoutsMade.delete(path)
  }

  /** Hides a name of the layers below; what this layer wrote itself stays. */
  #whiteOut(directory: Directory, name: ByteString): void {
    const existing = lstatIn(directory, name)
    if (this.#mode === 'apply') {
      if (existing) this.#own.removeOthers(directory, name)
      return
    }
    const path = this.#resolvedPath(directory, name)
    if (!existing) {
      if (this.#isBelowOpaque(path)) return
      sys.mknodat(directory.fd, cPath(name), sys.S_IFCHR, 0, 0)
      this.whiteoutsMade.add(path)
    } else if (existing.isDirectory()) {
      if (this.implicitParents.has(path)) throw new NeedsParents('late-whiteout', path)
      this.#checkNoneImplicitBelow(path)
      setXattr(procPath(directory, name), OPAQUE_XATTR, YES)
      this.#opaque.add(path)
    }
  }

  /** Which directories a late whiteout leaves only shows on top of the others: it removes theirs. */
  #checkNoneImplicitBelow(path: ByteString): void {
    if (this.implicitParents.size < 2) return
    for (const implicit of this.implicitParents) {
      if (implicit.startsWith(`${path}/`)) throw new NeedsParents('late-whiteout', path)
    }
  }

  #noteWritten(directory: Directory, name: ByteString): void {
    if (this.#mode === 'apply') this.#own.add(directory, name)
  }

  #resolvedPath(directory: Directory, name: ByteString): ByteString {
    const parent = this.#directories.resolvedPath(directory)
    return parent === '' ? name : `${parent}/${name}`
  }

  /** The host's errors with the entry they are about; those that only a wrong name can cause are the layer's fault. */
  #explain(error: unknown, entry: TarEntry | undefined): unknown {
    if (error instanceof NeedsParents || error instanceof PurserError || !entry) return error
    const errno = sys.errnoOf(error)
    if (errno !== undefined && LAYERS_FAULT.has(errno)) {
      return malformed(error instanceof Error ? error.message : String(error), entry.path)
    }
    const { code, message, remedy } = toPurserError(error)
    return new PurserError(code, `cannot extract ${printable(entry.path)}: ${message}`, {
      cause: error,
      ...(remedy === undefined ? {} : { remedy }),
    })
  }
}
