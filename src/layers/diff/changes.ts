import { type BigIntStats, closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs'
import { type ByteString, byteString, fsPath } from '../../host/byte-paths.ts'
import { getXattr, listXattrs } from '../../host/xattrs.ts'

/** What one snapshot has beside another one, in an order in which it can be applied: a directory before what is in it. */
export type Change =
  /** There is something else at the path, or something with other attributes. */
  | { is: 'entry'; path: ByteString; status: BigIntStats }
  /** What the other one has at the path is gone. */
  | { is: 'removal'; path: ByteString }
  /** Nothing of what the other one has in the directory is seen. */
  | { is: 'opaque'; path: ByteString }

/** Where changes are read from: the upper directory of an overlay, or two trees to compare. */
export type DiffSource =
  | { from: 'upper-directory'; path: string }
  | { from: 'comparison'; lower: string | undefined; upper: string }

const OPAQUE = 'trusted.overlay.opaque'

const join = (parent: ByteString, name: ByteString): ByteString => (parent === '' ? name : `${parent}/${name}`)
const isWhiteout = (status: BigIntStats): boolean => status.isCharacterDevice() && status.rdev === 0n
/** In a layer these names mean a whiteout, so a file of such a name cannot be in one. */
const isSayable = (name: ByteString): boolean => !name.startsWith('.wh.')

/** A tree of which the entries are asked for by path. */
class Tree {
  readonly root: ByteString

  constructor(root: string) {
    this.root = byteString(root)
  }

  at = (path: ByteString): ByteString => (path === '' ? this.root : `${this.root}/${path}`)

  /** Undefined when it is not there, or has gone meanwhile. */
  status(path: ByteString): BigIntStats | undefined {
    return lstatSync(fsPath(this.at(path)), { bigint: true, throwIfNoEntry: false })
  }

  /** In the order of bytes. */
  names(path: ByteString): ByteString[] {
    return readdirSync(fsPath(this.at(path)), 'latin1').sort((a, b) => (a < b ? -1 : 1))
  }
}

export const changesOf = (source: DiffSource): Generator<Change, void, void> =>
  source.from === 'upper-directory'
    ? inUpperDirectory(new Tree(source.path), '')
    : compared(source.lower === undefined ? undefined : new Tree(source.lower), new Tree(source.upper))

/** overlayfs's own notes of what changed. @see kernel, Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories" */
function* inUpperDirectory(upper: Tree, path: ByteString): Generator<Change, void, void> {
  const status = upper.status(path)
  if (!status) return
  if (isWhiteout(status)) {
    yield { is: 'removal', path }
    return
  }
  yield { is: 'entry', path, status }
  if (!status.isDirectory()) return
  if (getXattr(upper.at(path), OPAQUE)?.toString() === 'y') yield { is: 'opaque', path }
  for (const name of upper.names(path)) if (isSayable(name)) yield* inUpperDirectory(upper, join(path, name))
}

/** Walks both trees at once. Directories on the way to a change are named, also those that did not change. */
function* compared(lower: Tree | undefined, upper: Tree): Generator<Change, void, void> {
  const unnamed: { path: ByteString; status: BigIntStats }[] = []
  const say = function* (change: Change): Generator<Change, void, void> {
    for (const directory of unnamed.splice(0)) yield { is: 'entry', ...directory }
    yield change
  }
  const walk = function* (path: ByteString, below: 'seen' | 'hidden'): Generator<Change, void, void> {
    const status = upper.status(path)
    if (!status) return
    const old = below === 'seen' ? lower?.status(path) : undefined
    const isSame = old !== undefined && lower !== undefined && isEqual(lower, old, upper, status, path)
    if (!status.isDirectory()) {
      if (!isSame) yield* say({ is: 'entry', path, status })
      return
    }
    const depth = unnamed.length
    if (isSame) unnamed.push({ path, status })
    else yield* say({ is: 'entry', path, status })
    const names = new Set(upper.names(path))
    const belowIt = old?.isDirectory() ? 'seen' : 'hidden'
    const gone = belowIt === 'seen' ? (lower?.names(path) ?? []).filter((name) => !names.has(name)) : []
    for (const name of [...names, ...gone].sort((a, b) => (a < b ? -1 : 1))) {
      if (!isSayable(name)) continue
      if (names.has(name)) yield* walk(join(path, name), belowIt)
      else yield* say({ is: 'removal', path: join(path, name) })
    }
    unnamed.splice(depth)
  }
  yield* walk('', 'seen')
}

function isEqual(lower: Tree, old: BigIntStats, upper: Tree, now: BigIntStats, path: ByteString): boolean {
  if (old.mode !== now.mode || old.uid !== now.uid || old.gid !== now.gid || old.rdev !== now.rdev) return false
  if (old.mtimeNs !== now.mtimeNs) return false
  if (!hasEqualXattrs(lower.at(path), upper.at(path))) return false
  if (now.isSymbolicLink()) return linkTo(lower.at(path)) === linkTo(upper.at(path))
  if (!now.isFile()) return true
  if (old.size !== now.size) return false
  // Whole seconds may have been set by a program: then only the bytes tell. @see containerd/continuity, fs/diff.go
  return old.mtimeNs % 1_000_000_000n !== 0n || hasEqualBytes(lower.at(path), upper.at(path), Number(now.size))
}

const linkTo = (path: ByteString): ByteString => readlinkSync(fsPath(path), 'latin1')

/** Those that a layer may have. */
export const xattrsOf = (path: ByteString): Map<ByteString, Buffer> => {
  const found = new Map<ByteString, Buffer>()
  for (const name of listXattrs(path)) {
    const value = name.startsWith('trusted.') || name === 'security.selinux' ? undefined : getXattr(path, name)
    if (value) found.set(name, value)
  }
  return found
}

function hasEqualXattrs(a: ByteString, b: ByteString): boolean {
  const [left, right] = [xattrsOf(a), xattrsOf(b)]
  return left.size === right.size && [...left].every(([name, value]) => right.get(name)?.equals(value))
}

const [leftPiece, rightPiece] = [Buffer.alloc(256 * 1024), Buffer.alloc(256 * 1024)]

function hasEqualBytes(a: ByteString, b: ByteString, sizeBytes: number): boolean {
  const left = openSync(fsPath(a), 'r')
  const right = openSync(fsPath(b), 'r')
  try {
    for (let at = 0; at < sizeBytes; at += leftPiece.length) {
      const lengths = [
        readSync(left, leftPiece, 0, leftPiece.length, at),
        readSync(right, rightPiece, 0, rightPiece.length, at),
      ]
      if (lengths[0] !== lengths[1]) return false
      if (leftPiece.compare(rightPiece, 0, lengths[1], 0, lengths[0]) !== 0) return false
    }
    return true
  } finally {
    closeSync(left)
    closeSync(right)
  }
}
