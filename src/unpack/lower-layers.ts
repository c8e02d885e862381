import { lchownSync, lstatSync, type Stats } from 'node:fs'
import { chmod, lutimes } from 'node:fs/promises'
import { type ByteString, fsPath } from '../host/byte-paths.ts'
import { getXattr, listXattrs, setXattr } from '../host/xattrs.ts'

const OPAQUE = 'trusted.overlay.opaque'
const OVERLAY = 'trusted.overlay.'

export type Found =
  | { what: 'nothing' }
  | { what: 'symlink' | 'other' }
  | { what: 'directory'; path: ByteString; status: Stats }

const statusOf = (path: ByteString): Stats | undefined => lstatSync(fsPath(path), { throwIfNoEntry: false })
const isWhiteout = (status: Stats): boolean => status.isCharacterDevice() && status.rdev === 0

/**
 * What the layers below have at a path, as overlayfs would show it.
 *
 * @param layers their directories, topmost first
 */
export function findBelow(layers: readonly string[], path: ByteString): Found {
  const names = path === '' ? [] : path.split('/')
  for (const layer of layers) {
    let at: ByteString = layer
    let hidesBelow = false
    let isThere = true
    for (const [index, name] of names.entries()) {
      at = `${at}/${name}`
      const status = statusOf(at)
      if (!status) {
        isThere = false
        break
      }
      if (isWhiteout(status)) return { what: 'nothing' }
      if (status.isSymbolicLink()) return { what: 'symlink' }
      if (!status.isDirectory()) return { what: index === names.length - 1 ? 'other' : 'nothing' }
      if (getXattr(at, OPAQUE)?.toString() === 'y') hidesBelow = true
    }
    const status = isThere ? statusOf(at) : undefined
    if (status) return { what: 'directory', path: at, status }
    if (hidesBelow) return { what: 'nothing' }
  }
  return { what: 'nothing' }
}

/** Gives a directory that only stands for one below the attributes of that one. */
export async function copyAttributes(from: Extract<Found, { what: 'directory' }>, to: ByteString): Promise<void> {
  const { status } = from
  lchownSync(fsPath(to), status.uid, status.gid)
  await chmod(fsPath(to), status.mode & 0o7777)
  for (const name of listXattrs(from.path)) {
    const value = name.startsWith(OVERLAY) ? undefined : getXattr(from.path, name)
    if (value) setXattr(to, name, value)
  }
  await lutimes(fsPath(to), status.atimeMs / 1000, status.mtimeMs / 1000)
}
