import { execFile } from 'node:child_process'
import { closeSync } from 'node:fs'
import { promisify } from 'node:util'
import { AT_FDCWD, errnoOf, O, openat2, RESOLVE } from './syscalls.ts'

/**
 * Copies what is in a directory below a root, with owners, modes, times, links and extended attributes. Links in the path lead
 * nowhere outside the root; those within the directory are copied as they are.
 *
 * @param into is there and empty; it gets the directory's own attributes too
 * @returns false, with nothing copied, where the root has no such directory
 */
export async function copyTreeWithin(root: string, path: string, into: string, signal: AbortSignal): Promise<boolean> {
  using open = new DisposableStack()
  const opened = (fd: number): number => {
    open.defer(() => closeSync(fd))
    return fd
  }
  const base = opened(openat2(AT_FDCWD, root, O.DIRECTORY | O.PATH, 0))
  let directory: number
  try {
    directory = opened(openat2(base, path, O.DIRECTORY | O.PATH, RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS))
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '')) return false
    throw error
  }
  const source = `/proc/${process.pid}/fd/${directory}/.`
  await promisify(execFile)('cp', ['--archive', '--one-file-system', '--', source, into], { signal, cwd: '/' })
  return true
}
