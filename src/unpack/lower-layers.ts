import { lstatSync, type Stats } from 'node:fs'
import { type ByteString, byteString, fsPath } from '../host/byte-paths.ts'
import { getXattr } from '../host/xattrs.ts'

const OPAQUE = 'trusted.overlay.opaque'

export type Found = { what: 'nothing' } | { what: 'symlink' | 'other' } | { what: 'directory'; path: ByteString }

export const statusOf = (path: ByteString): Stats | undefined => lstatSync(fsPath(path), { throwIfNoEntry: false })
export const isWhiteout = (status: Stats): boolean => status.isCharacterDevice() && status.rdev === 0

/**
 * What the layers below have at a path, as overlayfs would show it.
 *
 * @param layers their directories, topmost first
 */
export function findBelow(layers: readonly string[], path: ByteString): Found {
  const names = path === '' ? [] : path.split('/')
  for (const layer of layers) {
    let at = byteString(layer)
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
    if (isThere) return { what: 'directory', path: at }
    if (hidesBelow) return { what: 'nothing' }
  }
  return { what: 'nothing' }
}
