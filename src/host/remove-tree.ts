import { closeSync, readdirSync } from 'node:fs'
import { type ByteString, cPath } from './byte-paths.ts'
import { errnoOf, O, openat, rmdirat, unlinkat } from './syscalls.ts'

/**
 * Removes an entry of an open directory with all that is below it. Every step is relative to a directory that is open and
 * follows no symlink, so that nothing elsewhere is removed, whoever swaps directories meanwhile.
 */
export function removeTreeAt(parent: number, name: ByteString): void {
  let fd: number
  try {
    fd = openat(parent, cPath(name), O.DIRECTORY | O.NOFOLLOW)
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === 'ENOENT') return
    // A file, or a symlink, which is never followed.
    if (errno !== 'ENOTDIR' && errno !== 'ELOOP') throw error
    unlinkat(parent, cPath(name))
    return
  }
  try {
    for (const entry of readdirSync(`/proc/self/fd/${fd}`, { encoding: 'latin1', withFileTypes: true })) {
      if (entry.isDirectory()) removeTreeAt(fd, entry.name)
      else unlinkat(fd, cPath(entry.name))
    }
  } finally {
    closeSync(fd)
  }
  rmdirat(parent, cPath(name))
}
