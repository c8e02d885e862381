import { chmodSync, lchownSync, lstatSync } from 'node:fs'
import { type ByteString, cPath, fsPath } from './byte-paths.ts'
import { AT_FDCWD, lutimesat, type Timespec, timespecOfNs } from './syscalls.ts'
import { getXattr, listXattrs, setXattr } from './xattrs.ts'

/** What overlayfs keeps about a directory is not the directory's own. */
const OVERLAY = 'trusted.overlay.'

/** Gives a directory the owner, mode, extended attributes and times, to the nanosecond, of another. */
export function copyDirectoryAttributes(from: ByteString, to: ByteString): void {
  const { uid, gid, mode } = lstatSync(fsPath(from))
  lchownSync(fsPath(to), uid, gid)
  for (const name of listXattrs(from)) {
    const value = name.startsWith(OVERLAY) ? undefined : getXattr(from, name)
    if (value) setXattr(to, name, value)
  }
  chmodSync(fsPath(to), mode & 0o7777)
  setModifiedAt(to, modifiedAt(from))
}

/** When the entry itself was last modified, to the nanosecond. */
export function modifiedAt(path: ByteString): Timespec {
  return timespecOfNs(lstatSync(fsPath(path), { bigint: true }).mtimeNs)
}

export function setModifiedAt(path: ByteString, time: Timespec): void {
  lutimesat(AT_FDCWD, cPath(path), time)
}
