import { PurserError } from '../model/errors.ts'
import { type ByteString, cPath, printable } from './byte-paths.ts'
import { AT_FDCWD, errnoOf, O, openat2, RESOLVE } from './syscalls.ts'

/** A directory as the root of paths; it stays that directory, whatever takes its name. To be closed. */
export const openRoot = (directory: string): number => openat2(AT_FDCWD, directory, O.PATH | O.DIRECTORY, 0)

/**
 * Opens what a path leads to, with a directory as `/`: neither `..` nor a symlink leads out of it, whoever changes the tree
 * meanwhile. The descriptor (O_PATH) reads nothing; `/proc/self/fd/N` opens the same inode again.
 *
 * @param last whether a symlink at the end is followed, or meant itself
 * @throws PurserError not_found, failed_precondition, invalid_argument for a path that cannot be one
 */
export function openInRoot(root: number, path: ByteString, last: 'follow' | 'itself'): number {
  if (path.includes('\0')) throw new PurserError('invalid_argument', 'a path has no zero bytes', { field: 'path' })
  const flags = last === 'follow' ? O.PATH : O.PATH | O.NOFOLLOW
  try {
    return openat2(root, cPath(path === '' ? '/' : path), flags, RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS)
  } catch (cause) {
    throw explained(path, cause)
  }
}

function explained(path: ByteString, cause: unknown): unknown {
  const name = printable(path)
  switch (errnoOf(cause)) {
    case 'ENOENT':
      return new PurserError('not_found', `there is no ${name}`, { cause, field: 'path' })
    case 'ENOTDIR':
      return new PurserError('not_found', `${name} leads through something that is no directory`, {
        cause,
        field: 'path',
      })
    case 'ELOOP':
      return new PurserError('failed_precondition', `${name} leads through symlinks that cannot be followed`, {
        cause,
        field: 'path',
        remedy: 'name the path without them',
      })
    case 'ENAMETOOLONG':
      return new PurserError('invalid_argument', `${name} is longer than a path can be`, { cause, field: 'path' })
    case 'EAGAIN':
      return new PurserError('aborted', `directories on the way to ${name} are moved all the time`, { cause })
  }
  return cause
}
