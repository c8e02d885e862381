import type { BigIntStats } from 'node:fs'
import type { ByteString } from '../../host/byte-paths.ts'
import { timespecOfNs } from '../../host/syscalls.ts'
import type { EntryType, TarEntry } from './header.ts'

/** Undefined for a socket: it is of a process, not of a tree. */
export function entryTypeOf(status: BigIntStats): Exclude<EntryType, 'link'> | undefined {
  if (status.isFile()) return 'file'
  if (status.isDirectory()) return 'directory'
  if (status.isSymbolicLink()) return 'symlink'
  if (status.isCharacterDevice()) return 'char'
  if (status.isBlockDevice()) return 'block'
  return status.isFIFO() ? 'fifo' : undefined
}

/** As glibc's major(3) and minor(3). */
const deviceOf = (device: bigint): { major: number; minor: number } => ({
  major: Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n)),
  minor: Number((device & 0xffn) | ((device >> 12n) & 0xffffff00n)),
})

/** What its status does not tell. */
interface Sources {
  /** Of a symlink. */
  target(): ByteString
  xattrs(type: EntryType): ReadonlyMap<ByteString, Buffer>
}

/**
 * The entry of what is in a tree. Of an inode with several names the first is what it is, and the others are links to that.
 *
 * @param firstNames of the inodes before; this one's is added
 * @returns undefined for a socket
 */
export function entryFrom(
  status: BigIntStats,
  path: ByteString,
  firstNames: Map<string, ByteString>,
  { target, xattrs }: Sources,
): TarEntry | undefined {
  const type = entryTypeOf(status)
  if (!type) return undefined
  const inode = `${status.dev}:${status.ino}`
  const first = type !== 'directory' && status.nlink > 1n ? firstNames.get(inode) : undefined
  const entry: TarEntry = {
    path,
    type: first === undefined ? type : 'link',
    mode: Number(status.mode & 0o7777n),
    uid: Number(status.uid),
    gid: Number(status.gid),
    sizeBytes: type === 'file' && first === undefined ? Number(status.size) : 0,
    mtime: timespecOfNs(status.mtimeNs),
    linkPath: first ?? (type === 'symlink' ? target() : ''),
    ...(type === 'char' || type === 'block' ? deviceOf(status.rdev) : { major: 0, minor: 0 }),
    xattrs: first === undefined ? xattrs(type) : new Map(),
    sparse: undefined,
  }
  if (status.nlink > 1n && first === undefined) firstNames.set(inode, path)
  return entry
}
