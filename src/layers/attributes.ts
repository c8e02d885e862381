import type { ByteString } from '../host/byte-paths.ts'
import { errnoOf } from '../host/syscalls.ts'
import { listXattrs, removeXattr, setXattr } from '../host/xattrs.ts'
import type { TarEntry } from './tar/header.ts'

/**
 * Extended attributes from a tar. `trusted.*` is the host's own, overlayfs keeps its marks there, so a layer may not
 * set it: containerd, archive/tar_unix.go, setxattr.
 */
export class XattrWriter {
  readonly skipped = new Set<string>()

  /** @param set sets one on the entry; what the file system cannot keep is left out and noted */
  write(entry: TarEntry, set: (name: ByteString, value: Buffer) => void): void {
    for (const [name, value] of entry.xattrs) {
      if (name.startsWith('trusted.')) continue
      try {
        set(name, value)
      } catch (error) {
        if (!isUnsupported(error, name, entry)) throw error
        if (this.skipped.size < 16) this.skipped.add(name)
      }
    }
  }

  writeTo(path: ByteString, entry: TarEntry): void {
    this.write(entry, (name, value) => setXattr(path, name, value))
  }

  /** Takes from a directory that was there before what its new entry does not have. */
  removeOthers(path: ByteString, entry: TarEntry): void {
    for (const name of listXattrs(path)) {
      const isHosts = name.startsWith('trusted.') || name === 'security.selinux'
      if (!isHosts && !entry.xattrs.has(name)) removeXattr(path, name)
    }
  }
}

function isUnsupported(error: unknown, name: ByteString, entry: TarEntry): boolean {
  const errno = errnoOf(error)
  if (errno === 'ENOTSUP') return true
  // xattr(7): user attributes are for files and directories only.
  return errno === 'EPERM' && name.startsWith('user.') && entry.type !== 'file' && entry.type !== 'directory'
}
