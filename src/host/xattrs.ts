import koffi from 'koffi'
import { type ByteString, cPath } from './byte-paths.ts'
import { type CPath, errnoOf, SyscallError } from './syscalls.ts'

const libc = koffi.load(null)
const cGet = libc.func('lgetxattr', 'long', ['str', 'str', 'void *', 'size_t'])
const cSet = libc.func('lsetxattr', 'int', ['str', 'str', 'void *', 'size_t', 'int'])
const cList = libc.func('llistxattr', 'long', ['str', 'void *', 'size_t'])
const cGetFollowing = libc.func('getxattr', 'long', ['str', 'str', 'void *', 'size_t'])
const cListFollowing = libc.func('listxattr', 'long', ['str', 'void *', 'size_t'])
const cRemove = libc.func('lremovexattr', 'int', ['str', 'str'])
const cFset = libc.func('fsetxattr', 'int', ['int', 'str', 'void *', 'size_t', 'int'])

/** The kernel's own bound for one value and for the list of names. @see xattr(7) */
export const XATTR_BYTES_MAX = 65_536

const scratch = Buffer.alloc(XATTR_BYTES_MAX)

function check(result: unknown, syscall: string, path: CPath): number {
  if (typeof result !== 'number' || result < 0) throw new SyscallError(koffi.errno(), syscall, path)
  return result
}

/** Names of all extended attributes of the entry itself; none where the file system has no such thing. */
export function listXattrs(path: ByteString): string[] {
  try {
    const length = check(cList(cPath(path), scratch, scratch.length), 'llistxattr', cPath(path))
    return length === 0 ? [] : scratch.toString('latin1', 0, length - 1).split('\0')
  } catch (error) {
    if (errnoOf(error) === 'ENOTSUP') return []
    throw error
  }
}

/** The value, or undefined when there is none of that name. */
export function getXattr(path: ByteString, name: ByteString): Buffer | undefined {
  try {
    const length = check(cGet(cPath(path), cPath(name), scratch, scratch.length), 'lgetxattr', cPath(path))
    return Buffer.from(scratch.subarray(0, length))
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === 'ENODATA' || errno === 'ENOTSUP') return undefined
    throw error
  }
}

/** As getXattr, of a path that is followed: `/proc/self/fd/N` leads to what is open there, also with O.PATH. */
export function getXattrFollowing(path: ByteString, name: ByteString): Buffer | undefined {
  try {
    const length = check(cGetFollowing(cPath(path), cPath(name), scratch, scratch.length), 'getxattr', cPath(path))
    return Buffer.from(scratch.subarray(0, length))
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === 'ENODATA' || errno === 'ENOTSUP') return undefined
    throw error
  }
}

/** As listXattrs, of a path that is followed. */
export function listXattrsFollowing(path: ByteString): string[] {
  try {
    const length = check(cListFollowing(cPath(path), scratch, scratch.length), 'listxattr', cPath(path))
    return length === 0 ? [] : scratch.toString('latin1', 0, length - 1).split('\0')
  } catch (error) {
    if (errnoOf(error) === 'ENOTSUP') return []
    throw error
  }
}

export function setXattr(path: ByteString, name: ByteString, value: Buffer): void {
  check(cSet(cPath(path), cPath(name), value, value.length, 0), 'lsetxattr', cPath(path))
}

export function setXattrOfFd(fd: number, name: ByteString, value: Buffer): void {
  check(cFset(fd, cPath(name), value, value.length, 0), 'fsetxattr', cPath(name))
}

export function removeXattr(path: ByteString, name: ByteString): void {
  check(cRemove(cPath(path), cPath(name)), 'lremovexattr', cPath(path))
}
