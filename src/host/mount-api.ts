import koffi from 'koffi'
import { AT_FDCWD, type CPath, MS, SyscallError } from './syscalls.ts'

/** The newer system calls for mounts, which libc of Debian 12 has no names for. Numbers are those of every architecture. */
const SYS = { open_tree: 428, move_mount: 429, fsopen: 430, fsconfig: 431, fsmount: 432, mount_setattr: 442 } as const

const libc = koffi.load(null)
const cFsopen = libc.func('syscall', 'long', ['long', 'str', 'uint'])
const cFsconfig = libc.func('syscall', 'long', ['long', 'int', 'uint', 'str', 'str', 'int'])
const cFsmount = libc.func('syscall', 'long', ['long', 'int', 'uint', 'uint'])
const cMoveMount = libc.func('syscall', 'long', ['long', 'int', 'str', 'int', 'str', 'uint'])
const cOpenTree = libc.func('syscall', 'long', ['long', 'int', 'str', 'uint'])
const cMountSetattr = libc.func('syscall', 'long', ['long', 'int', 'str', 'uint', 'void *', 'size_t'])

const CLOEXEC = 1
const SET_FLAG = 0
const SET_STRING = 1
const CREATE = 6
const MOVE_FROM_EMPTY_PATH = 0x4
const OPEN_TREE_CLONE = 1
const OPEN_TREE_CLOEXEC = 0o2000000
const AT_EMPTY_PATH = 0x1000
const AT_RECURSIVE = 0x8000

/** @see mount_setattr(2) */
export const MOUNT_ATTR = {
  RDONLY: 0x1,
  NOSUID: 0x2,
  NODEV: 0x4,
  NOEXEC: 0x8,
  NOATIME: 0x10,
  IDMAP: 0x100000,
} as const

function check(result: unknown, syscall: string, subject: CPath): number {
  if (typeof result !== 'number' || result < 0) throw new SyscallError(koffi.errno(), syscall, subject)
  return result
}

/** A context to configure a file system in; close it. */
export const fsopen = (type: string): number => check(cFsopen(SYS.fsopen, type, CLOEXEC), 'fsopen', type)

export function setString(context: number, key: string, value: string): void {
  check(cFsconfig(SYS.fsconfig, context, SET_STRING, key, value, 0), 'fsconfig', `${key}=${value}`)
}

export function setFlag(context: number, key: string): void {
  check(cFsconfig(SYS.fsconfig, context, SET_FLAG, key, null, 0), 'fsconfig', key)
}

/**
 * Options of overlayfs, each lower directory by itself, so that no list of them is too long.
 *
 * @param path what is said instead of the path of a layer
 */
export function setOverlayOptions(context: number, options: readonly string[], path: (of: string) => string): void {
  for (const option of options) {
    const [, key, value] = /^([^=]+)=(.*)$/s.exec(option) ?? []
    if (key === undefined || value === undefined) setFlag(context, option)
    else if (key === 'lowerdir') for (const each of value.split(':')) setString(context, 'lowerdir+', path(each))
    else setString(context, key, key === 'upperdir' || key === 'workdir' ? path(value) : value)
  }
}

export function create(context: number): void {
  check(cFsconfig(SYS.fsconfig, context, CREATE, null, null, 0), 'fsconfig', 'create')
}

/** A mount that is nowhere yet. @param attributes MOUNT_ATTR */
export const fsmount = (context: number, attributes: number): number =>
  check(cFsmount(SYS.fsmount, context, CLOEXEC, attributes), 'fsmount', '')

/** Puts a mount that is nowhere yet somewhere. */
export function moveMount(mount: number, target: CPath): void {
  check(cMoveMount(SYS.move_mount, mount, '', AT_FDCWD, target, MOVE_FROM_EMPTY_PATH), 'move_mount', target)
}

/** A bind mount of the path that is nowhere yet. */
export const cloneTree = (path: CPath): number =>
  check(cOpenTree(SYS.open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC), 'open_tree', path)

/**
 * Maps owners of a mount that is nowhere yet as a user namespace does.
 *
 * @param more MOUNT_ATTR to set besides
 * @see mount_setattr(2), "ID-mapped mounts"
 */
export function mapOwners(mount: number, userNamespace: number, more: number): void {
  const attributes = Buffer.alloc(32)
  attributes.writeBigUInt64LE(BigInt(MOUNT_ATTR.IDMAP | more), 0)
  attributes.writeBigUInt64LE(BigInt(userNamespace), 24)
  const flags = AT_EMPTY_PATH | AT_RECURSIVE
  check(cMountSetattr(SYS.mount_setattr, mount, '', flags, attributes, attributes.length), 'mount_setattr', '')
}

/** Of mount(2)'s flags those that a mount has, as fsmount(2) takes them. */
export const attributesOfFlags = (flags: number): number =>
  ((flags & MS.RDONLY) !== 0 ? MOUNT_ATTR.RDONLY : 0) |
  ((flags & MS.NOSUID) !== 0 ? MOUNT_ATTR.NOSUID : 0) |
  ((flags & MS.NODEV) !== 0 ? MOUNT_ATTR.NODEV : 0) |
  ((flags & MS.NOEXEC) !== 0 ? MOUNT_ATTR.NOEXEC : 0) |
  ((flags & MS.NOATIME) !== 0 ? MOUNT_ATTR.NOATIME : 0)
