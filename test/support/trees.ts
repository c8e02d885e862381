import { createHash } from 'node:crypto'
import { lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { byteString, fsPath } from '../../src/host/byte-paths.ts'
import { listMounts, unmount } from '../../src/host/mounts.ts'
import { getXattr, listXattrs } from '../../src/host/xattrs.ts'

/** A new directory; disposal unmounts whatever is mounted below and removes it. */
export function temporaryDirectory(): Disposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), 'purser-test-'))
  return {
    path,
    [Symbol.dispose]() {
      for (const { target } of listMounts().reverse()) if (target.startsWith(`${path}/`)) unmount(target)
      rmSync(path, { recursive: true, force: true })
    },
  }
}

const hashOf = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex').slice(0, 12)
const brief = (value: Buffer | undefined): string | undefined =>
  value && value.length > 64 ? `${value.length} bytes ${hashOf(value)}` : value?.toString('hex')

/**
 * Everything about a tree that a container can see, a line for each entry, by path.
 *
 * @param ignoreMtimeOf paths (the root is '') whose time is not stated by any layer
 * @param ignoreModeOf paths of which neither mode nor time counts
 */
export function describeTree(
  root: string,
  ignoreMtimeOf: readonly string[] = [],
  ignoreModeOf: readonly string[] = [],
): Record<string, string> {
  const lines: Record<string, string> = {}
  const firstNames = new Map<string, string>()
  const visit = (path: string) => {
    const at = path === '' ? byteString(root) : `${byteString(root)}/${path}`
    const status = lstatSync(fsPath(at), { bigint: true, throwIfNoEntry: false })
    if (!status) {
      lines[path] = 'listed, but not there'
      return
    }
    const fields = [`${status.uid}:${status.gid}`]
    if (!ignoreModeOf.includes(path)) fields.unshift(status.mode.toString(8))
    if (![...ignoreMtimeOf, ...ignoreModeOf].includes(path)) fields.push(`mtime ${status.mtimeNs}`)
    if (status.isFile()) {
      fields.push(`size ${status.size}`, hashOf(readFileSync(fsPath(at))))
    }
    if (status.isSymbolicLink()) fields.push(`-> ${readlinkSync(fsPath(at), 'latin1')}`)
    if (status.isBlockDevice() || status.isCharacterDevice()) fields.push(`rdev ${status.rdev}`)
    if (!status.isDirectory() && status.nlink > 1n) {
      const key = String(status.ino)
      fields.push(`nlink ${status.nlink} with ${JSON.stringify(firstNames.get(key) ?? '.')}`)
      if (!firstNames.has(key)) firstNames.set(key, path)
    }
    for (const name of listXattrs(at).sort()) {
      if (!name.startsWith('trusted.overlay.')) fields.push(`${name}=${brief(getXattr(at, name))}`)
    }
    lines[path] = fields.join(' ')
    if (!status.isDirectory()) return
    for (const name of readdirSync(fsPath(at), 'latin1').sort()) visit(path === '' ? name : `${path}/${name}`)
  }
  visit('')
  return lines
}
