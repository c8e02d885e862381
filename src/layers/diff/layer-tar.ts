import { type BigIntStats, closeSync, constants, openSync, readlinkSync, readSync } from 'node:fs'
import { type ByteString, byteString, fsPath } from '../../host/byte-paths.ts'
import { entryFrom } from '../tar/from-status.ts'
import { plainFile, type TarEntry } from '../tar/header.ts'
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
    else yield* tarOf(`${top}/${change.path}`, change.path, change.status, firstNames)
  }
  yield TAR_END
}

const OPAQUE = '.wh..wh..opq'

function whiteoutOf(path: ByteString): ByteString {
  const slash = path.lastIndexOf('/') + 1
  return `${path.slice(0, slash)}.wh.${path.slice(slash)}`
}

const marker = (path: ByteString): TarEntry => plainFile(path, { mode: 0, sizeBytes: 0 })

function* tarOf(
  at: ByteString,
  path: ByteString,
  status: BigIntStats,
  firstNames: Map<string, ByteString>,
): Generator<Buffer, void, void> {
  const entry = entryFrom(status, path, firstNames, {
    target: () => readlinkSync(fsPath(at), 'latin1'),
    xattrs: () => xattrsOf(at),
  })
  if (!entry) return
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
