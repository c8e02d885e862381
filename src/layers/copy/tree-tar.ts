import { closeSync, constants, openSync, readSync } from 'node:fs'
import type { ByteString } from '../../host/byte-paths.ts'
import { readlinkOfFd } from '../../host/syscalls.ts'
import { type TreeEntry, walkTree } from '../../host/tree-walk.ts'
import { getXattrFollowing, listXattrsFollowing } from '../../host/xattrs.ts'
import { entryFrom } from '../tar/from-status.ts'
import { encodeHeader, paddingAfter, TAR_END } from '../tar/writer.ts'

const PIECE_BYTES = 256 * 1024

/**
 * A tree as a tar, piece by piece: modes, owners, times, links and extended attributes as they are, but for sockets, which
 * are of processes. A file that shrinks while it is read is filled with zeros; one that grows is cut.
 *
 * @param start open; stays open
 * @param name of the start in the tar; `.` for one that stands for what is in it
 */
export function* treeTar(start: number, name: ByteString): Generator<Buffer, void, void> {
  const firstNames = new Map<string, ByteString>()
  for (const entry of walkTree(start)) {
    const path = entry.path === '' ? name : `${name}/${entry.path}`
    yield* tarOf(entry, path, firstNames)
  }
  yield TAR_END
}

function* tarOf(
  { fd, status }: TreeEntry,
  path: ByteString,
  firstNames: Map<string, ByteString>,
): Generator<Buffer, void, void> {
  const entry = entryFrom(status, path, firstNames, {
    target: () => readlinkOfFd(fd).toString('latin1'),
    xattrs: (type) => (type === 'file' || type === 'directory' ? xattrsOf(fd) : new Map()),
  })
  if (!entry) return
  yield encodeHeader(entry)
  if (entry.type === 'file' && entry.sizeBytes > 0) yield* contentOf(fd, entry.sizeBytes)
}

function* contentOf(fd: number, sizeBytes: number): Generator<Buffer, void, void> {
  // The same inode, whatever has its name by now.
  const file = openSync(`/proc/self/fd/${fd}`, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    for (let position = 0; position < sizeBytes; ) {
      const piece = Buffer.alloc(Math.min(PIECE_BYTES, sizeBytes - position))
      const length = readSync(file, piece, 0, piece.length, position)
      const told = length === 0 ? piece : piece.subarray(0, length)
      position += told.length
      yield told
    }
    yield paddingAfter(sizeBytes)
  } finally {
    closeSync(file)
  }
}

function xattrsOf(fd: number): Map<ByteString, Buffer> {
  const at = `/proc/self/fd/${fd}`
  const found = new Map<ByteString, Buffer>()
  for (const name of listXattrsFollowing(at)) {
    const isHosts = name.startsWith('trusted.') || name === 'security.selinux'
    const value = isHosts ? undefined : getXattrFollowing(at, name)
    if (value) found.set(name, value)
  }
  return found
}
