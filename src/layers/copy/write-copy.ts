import type { ByteString } from '../../host/byte-paths.ts'
import { DEFAULT_LIMITS } from '../limits.ts'
import { cleanPath } from '../paths.ts'
import type { TarEntry } from '../tar/header.ts'
import { TarReader, type TarSink } from '../tar/reader.ts'
import { TreeWriter } from '../tree-writer.ts'

export interface CopyTarget {
  /** Directory that no path leads out of: neither names in the tar, nor symlinks in the tree. */
  root: string
  /** Where the tar's entries go below it: a directory that is there. */
  directory: ByteString
  /** Whose they become: as the tar has it, or all of one. */
  owner: 'as-archived' | { uid: number; gid: number }
  /** Whether setuid and setgid stay. */
  privileges: 'keep' | 'drop'
  /** Another name for the tar's first one, and for all that is below it. */
  rename?: { from: ByteString; to: ByteString }
  /** Extended attributes that are not `user.*`, which only root may set. */
  xattrs: 'all' | 'user'
}

export interface Copied {
  entries: number
  /** Bytes of files, without holes. */
  bytes: number
}

const SETUID_SETGID = 0o6000

/** Writes a tar, as it comes in pieces, into a tree that is there already. */
export class CopyWriter implements Disposable {
  readonly #writer: TreeWriter
  readonly #reader: TarReader

  constructor(target: CopyTarget) {
    this.#writer = new TreeWriter(target.root, 'literal', 'allow')
    this.#reader = new TarReader(placed(this.#writer, target), DEFAULT_LIMITS)
  }

  /** @throws PurserError data_loss for what is no tar, failed_precondition for what is in the way */
  write(piece: Buffer): void {
    this.#reader.write(piece)
  }

  end(): Copied {
    this.#reader.end()
    this.#writer.finish()
    return { entries: this.#reader.entries, bytes: this.#writer.unpackedBytes }
  }

  [Symbol.dispose](): void {
    this.#writer[Symbol.dispose]()
  }
}

/** Entries as they are to be in the tree. */
function placed(writer: TreeWriter, target: CopyTarget): TarSink {
  let isSkipped = false
  return {
    entry(entry) {
      const at = placeOf(entry.path, target)
      // The tar's own root stands for the directory, which is there and stays what it is.
      isSkipped = at === cleanPath(target.directory)
      if (!isSkipped) writer.entry(changed(entry, at, target))
    },
    data(piece, position) {
      if (!isSkipped) writer.data(piece, position)
    },
    entryEnd() {
      if (!isSkipped) writer.entryEnd()
    },
  }
}

function changed(entry: TarEntry, path: ByteString, target: CopyTarget): TarEntry {
  const { owner, privileges } = target
  const { uid, gid } = owner === 'as-archived' ? entry : owner
  return {
    ...entry,
    path,
    uid,
    gid,
    mode: privileges === 'keep' ? entry.mode : entry.mode & ~SETUID_SETGID,
    linkPath: entry.type === 'link' ? placeOf(entry.linkPath, target) : entry.linkPath,
    xattrs:
      target.xattrs === 'all' ? entry.xattrs : new Map([...entry.xattrs].filter(([name]) => name.startsWith('user.'))),
  }
}

function placeOf(path: ByteString, { directory, rename }: CopyTarget): ByteString {
  let name = cleanPath(path)
  if (rename !== undefined) {
    if (name === rename.from) name = rename.to
    else if (name.startsWith(`${rename.from}/`)) name = `${rename.to}${name.slice(rename.from.length)}`
  }
  return cleanPath(`${directory}/${name}`)
}
