import { type BigIntStats, closeSync, constants, openSync, readlinkSync, readSync } from 'node:fs'
import { type ByteString, byteString, fsPath } from '../../host/byte-paths.ts'
import { timespecOfNs } from '../../host/syscalls.ts'
import { deviceOf, entryTypeOf } from '../tar/from-status.ts'
import type { TarEntry } from '../tar/header.ts'
import { encodeHeader, paddingAfter, TAR_END } from '../tar/writer.ts'
import { type Change, xattrsOf } from './changes.ts'

const PIECE_BYTES = 1024 * 1024

/**
 * Changes as the tar of a layer, piece by piece. A file that shrinks while it is read is filled with zeros; one that grows is
 * cut.
 *
 * @param root the tree that the changes are of
 * @see image-spec, layer.md, "Change Types"
 */
export function* layerTar(root: string, changes: Iterable<Change>): Generator<Buffer, void, void> {
  const top = byteString(root)
  const firstNames = new Map<string, ByteString>()
  for (const change of changes) {
    if (change.is === 'removal') yield encodeHeader(marker(whiteoutOf(change.path)))
    else if (change.is === 'opaque')
      yield encodeHeader(marker(change.path === '' ? OPAQUE : `${change.path}/${OPAQUE}`))
    else yield* entryOf(`${top}/${change.path}`, change.path, change.status, firstNames)
  }
  yield TAR_END
}

const OPAQUE = '.wh..wh..opq'

function whiteoutOf(path: ByteString): ByteString {
  const slash = path.lastIndexOf('/') + 1
  return `${path.slice(0, slash)}.wh.${path.slice(slash)}`
}

const PLAIN = {
  mode: 0,
  uid: 0,
  gid: 0,
  sizeBytes: 0,
  mtime: { seconds: 0, nanoseconds: 0 },
  linkPath: '',
  major: 0,
  minor: 0,
  xattrs: new Map(),
  sparse: undefined,
}
const marker = (path: ByteString): TarEntry => ({ ...PLAIN, path, type: 'file' })

function* entryOf(
  at: ByteString,
  path: ByteString,
  status: BigIntStats,
  firstNames: Map<string, ByteString>,
): Generator<Buffer, void, void> {
  const type = entryTypeOf(status)
  if (!type) return // A socket is of a process, not of a layer.
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
    linkPath: first ?? (type === 'symlink' ? readlinkSync(fsPath(at), 'latin1') : ''),
    ...(type === 'char' || type === 'block' ? deviceOf(status.rdev) : { major: 0, minor: 0 }),
    xattrs: first === undefined ? xattrsOf(at) : new Map(),
    sparse: undefined,
  }
  if (status.nlink > 1n && first === undefined) firstNames.set(inode, path)
  if (entry.type !== 'file' || entry.sizeBytes === 0) {
    yield encodeHeader(entry)
    return
  }
  const fd = openSync(fsPath(at), constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    yield encodeHeader(entry)
    for (let position = 0; position < entry.sizeBytes; ) {
      // A new one each time: whoever compresses it may hold on to it.
      const piece = Buffer.alloc(Math.min(PIECE_BYTES, entry.sizeBytes - position))
      readSync(fd, piece, 0, piece.length, position)
      position += piece.length
      yield piece
    }
    yield paddingAfter(entry.sizeBytes)
  } finally {
    closeSync(fd)
  }
}
