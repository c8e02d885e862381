import { closeSync, constants as fsConstants } from 'node:fs'
import { constants as osConstants } from 'node:os'
import koffi from 'koffi'

/**
 * The system calls that Node does not offer. They run on the calling thread and throw an error with `code`, `errno`
 * and `syscall`, as node:fs does. A path is a string (sent as UTF-8) or a buffer that ends in zero.
 */
export type CPath = string | Buffer

const libc = koffi.load(null)

/** A function of libc, typed; koffi's own signature is untyped and ends here. */
function bind<F extends (...args: never[]) => number>(name: string, args: string[], result = 'int'): F {
  return libc.func(name, result, args) as unknown as F
}

/** Of two names for one number the one that node:fs gives: EAGAIN, not EWOULDBLOCK; ENOTSUP, not EOPNOTSUPP. */
const ERRNO_NAMES = new Map(
  Object.entries(osConstants.errno)
    .map(([name, value]): [number, string] => [value, name])
    .toReversed(),
)

/** An error of a system call, in the shape of node:fs errors, so that one table maps both. */
export class SyscallError extends Error {
  readonly code: string
  readonly errno: number
  readonly syscall: string

  constructor(errno: number, syscall: string, subject: CPath) {
    const code = ERRNO_NAMES.get(errno) ?? `errno ${errno}`
    const name = typeof subject === 'string' ? subject : subject.toString('utf8').replace(/\0$/, '')
    super(`${code}: ${syscall} '${name}'`)
    this.name = 'SyscallError'
    this.code = code
    this.errno = errno
    this.syscall = syscall
  }
}

/** The errno name (`ENOENT`) of anything thrown by node:fs or by this file. */
export function errnoOf(thrown: unknown): string | undefined {
  return thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : undefined
}

function check(result: number, syscall: string, subject: CPath): number {
  if (result < 0) throw new SyscallError(koffi.errno(), syscall, subject)
  return result
}

export const AT_FDCWD = -100

/** Flags of open(2); the ones that differ between architectures come from Node. */
export const O = {
  RDONLY: fsConstants.O_RDONLY,
  WRONLY: fsConstants.O_WRONLY,
  CREAT: fsConstants.O_CREAT,
  EXCL: fsConstants.O_EXCL,
  NONBLOCK: fsConstants.O_NONBLOCK,
  DIRECTORY: fsConstants.O_DIRECTORY,
  NOFOLLOW: fsConstants.O_NOFOLLOW,
  CLOEXEC: 0o2000000,
  PATH: 0o10000000,
} as const

/** @see openat2(2) */
export const RESOLVE = { NO_MAGICLINKS: 0x02, NO_SYMLINKS: 0x04, BENEATH: 0x08, IN_ROOT: 0x10 } as const

/** @see mount(2) */
export const MS = {
  RDONLY: 0x1,
  NOSUID: 0x2,
  NODEV: 0x4,
  NOEXEC: 0x8,
  SYNCHRONOUS: 0x10,
  REMOUNT: 0x20,
  MANDLOCK: 0x40,
  DIRSYNC: 0x80,
  NOATIME: 0x400,
  NODIRATIME: 0x800,
  BIND: 0x1000,
  REC: 0x4000,
  UNBINDABLE: 0x20000,
  PRIVATE: 0x40000,
  SLAVE: 0x80000,
  SHARED: 0x100000,
  RELATIME: 0x200000,
  STRICTATIME: 0x1000000,
  LAZYTIME: 0x2000000,
} as const

export const MNT_DETACH = 2
const UMOUNT_NOFOLLOW = 8

/** @see unshare(2), setns(2) */
export const CLONE = {
  FS: 0x200,
  NEWNS: 0x20000,
  NEWUTS: 0x4000000,
  NEWIPC: 0x8000000,
  NEWUSER: 0x10000000,
  NEWPID: 0x20000000,
  NEWNET: 0x40000000,
} as const

const cMount = bind<(s: CPath | null, t: CPath, f: CPath | null, flags: number, data: CPath | null) => number>(
  'mount',
  ['str', 'str', 'str', 'ulong', 'str'],
)
const cUmount2 = bind<(target: CPath, flags: number) => number>('umount2', ['str', 'int'])
const cOpenat = bind<(fd: number, path: CPath, flags: number, mode: number) => number>('openat', [
  'int',
  'str',
  'int',
  'uint',
])
const cSyscall = bind<(n: number, fd: number, path: CPath, how: Buffer, size: number) => number>(
  'syscall',
  ['long', 'int', 'str', 'void *', 'size_t'],
  'long',
)
const cPidfdOpen = bind<(n: number, pid: number, flags: number) => number>('syscall', ['long', 'int', 'uint'], 'long')
const cPidfdSendSignal = bind<(n: number, fd: number, signal: number, info: Buffer | null, flags: number) => number>(
  'syscall',
  ['long', 'int', 'int', 'void *', 'uint'],
  'long',
)
const cFcntl = bind<(fd: number, command: number, value: number) => number>('fcntl', ['int', 'int', 'int'])
const cSplice = bind<
  (from: number, fromOffset: null, to: number, toOffset: Buffer, bytes: number, flags: number) => number
>('splice', ['int', 'void *', 'int', 'void *', 'size_t', 'uint'], 'long')
const cFallocate = bind<(fd: number, mode: number, offset: number, bytes: number) => number>('fallocate', [
  'int',
  'int',
  'int64',
  'int64',
])
const cFlock = bind<(fd: number, operation: number) => number>('flock', ['int', 'int'])
const LOCK_EX_NB = 2 | 4

const cMkdirat = bind<(fd: number, path: CPath, mode: number) => number>('mkdirat', ['int', 'str', 'uint'])
const cMknodat = bind<(fd: number, path: CPath, mode: number, dev: number) => number>('mknodat', [
  'int',
  'str',
  'uint',
  'uint64',
])
const cSymlinkat = bind<(target: CPath, fd: number, path: CPath) => number>('symlinkat', ['str', 'int', 'str'])
const cLinkat = bind<(ofd: number, old: CPath, nfd: number, path: CPath, flags: number) => number>('linkat', [
  'int',
  'str',
  'int',
  'str',
  'int',
])
const cUnlinkat = bind<(fd: number, path: CPath, flags: number) => number>('unlinkat', ['int', 'str', 'int'])
const cFchownat = bind<(fd: number, path: CPath, uid: number, gid: number, flags: number) => number>('fchownat', [
  'int',
  'str',
  'uint',
  'uint',
  'int',
])
const cFchown = bind<(fd: number, uid: number, gid: number) => number>('fchown', ['int', 'uint', 'uint'])
const cFchmod = bind<(fd: number, mode: number) => number>('fchmod', ['int', 'uint'])
const cFchmodat = bind<(fd: number, path: CPath, mode: number, flags: number) => number>('fchmodat', [
  'int',
  'str',
  'uint',
  'int',
])
const cFchmodat2 = bind<(n: number, fd: number, path: CPath, mode: number, flags: number) => number>(
  'syscall',
  ['long', 'int', 'str', 'uint', 'uint'],
  'long',
)
const cUtimensat = bind<(fd: number, path: CPath, times: Buffer, flags: number) => number>('utimensat', [
  'int',
  'str',
  'void *',
  'int',
])
const cFutimens = bind<(fd: number, times: Buffer) => number>('futimens', ['int', 'void *'])
const cMkfifo = bind<(path: CPath, mode: number) => number>('mkfifo', ['str', 'uint'])
const cUnshare = bind<(flags: number) => number>('unshare', ['int'])
const cSetns = bind<(fd: number, type: number) => number>('setns', ['int', 'int'])
const cReadlinkat = bind<(fd: number, path: CPath, target: Buffer, size: number) => number>(
  'readlinkat',
  ['int', 'str', 'void *', 'size_t'],
  'long',
)
const cSetScheduler = bind<(pid: number, policy: number, parameters: Buffer) => number>('sched_setscheduler', [
  'int',
  'int',
  'void *',
])
const cUmask = bind<(mask: number) => number>('umask', ['uint'])
const cChdir = bind<(path: CPath) => number>('chdir', ['str'])
const cSyncfs = libc.func('syncfs', 'int', ['int'])

/** Mounts; `source`, `type` and `data` are null where mount(2) ignores them. */
export function mount(source: CPath | null, target: CPath, type: string | null, flags: number, data: string | null) {
  check(cMount(source, target, type, flags, data), 'mount', target)
}

/** Unmounts, never through a symlink. @param flags 0 or MNT_DETACH */
export function umount(target: CPath, flags = 0): void {
  check(cUmount2(target, flags | UMOUNT_NOFOLLOW), 'umount2', target)
}

export function openat(fd: number, path: CPath, flags: number, mode = 0): number {
  return check(cOpenat(fd, path, flags | O.CLOEXEC, mode), 'openat', path)
}

const SYS_OPENAT2 = 437
const how = Buffer.alloc(24)

/** The kernel gives up where anything on the host is moved while it resolves dots; so often it is asked again. */
const OPEN_TRIES_MAX = 128

/**
 * Opens with constraints on how the path resolves.
 *
 * @param resolve RESOLVE flags
 * @throws SyscallError EAGAIN where directories are moved all the time
 * @see openat2(2)
 */
export function openat2(fd: number, path: CPath, flags: number, resolve: number, mode = 0): number {
  how.writeUInt32LE(flags | O.CLOEXEC, 0)
  how.writeUInt32LE(mode, 8)
  how.writeUInt32LE(resolve, 16)
  for (let tries = 1; ; tries++) {
    const opened = cSyscall(SYS_OPENAT2, fd, path, how, how.length)
    if (opened < 0 && koffi.errno() === osConstants.errno.EAGAIN && tries < OPEN_TRIES_MAX) continue
    return check(opened, 'openat2', path)
  }
}

const F_SETPIPE_SZ = 1031

/** How much a pipe holds before its writer waits. @see fcntl(2), F_SETPIPE_SZ @returns whether it could be changed */
export const setPipeBytes = (fd: number, bytes: number): boolean => cFcntl(fd, F_SETPIPE_SZ, bytes) >= 0

const SPLICE_F_NONBLOCK = 2
const spliceOffset = Buffer.alloc(8)

/**
 * Moves bytes from a pipe into a file, within the kernel: whenever this process is killed, each is in one of the two.
 *
 * @param offset in the file, which is not open to append
 * @returns how many; 0 when no writer is left; undefined when there is nothing yet
 * @see splice(2)
 */
export function spliceToFile(pipe: number, file: number, offset: number, bytesMax: number): number | undefined {
  spliceOffset.writeBigInt64LE(BigInt(offset))
  const moved = cSplice(pipe, null, file, spliceOffset, bytesMax, SPLICE_F_NONBLOCK)
  if (moved < 0 && koffi.errno() === osConstants.errno.EAGAIN) return undefined
  return check(moved, 'splice', `fd ${file}`)
}

const FALLOC_FL_KEEP_SIZE = 1
const FALLOC_FL_PUNCH_HOLE = 2

/** Gives back what the beginning of a file takes; its size stays, and reads find zeros there. @see fallocate(2) */
export function punchHole(fd: number, bytes: number): void {
  check(cFallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, bytes), 'fallocate', `fd ${fd}`)
}

const SYS_PIDFD_SEND_SIGNAL = 424
const SYS_PIDFD_OPEN = 434

/** A descriptor that stays this process's, whoever gets its number later. @see pidfd_open(2) */
export const pidfdOpen = (pid: number): number => check(cPidfdOpen(SYS_PIDFD_OPEN, pid, 0), 'pidfd_open', String(pid))

export function pidfdSendSignal(fd: number, signal: number): void {
  check(cPidfdSendSignal(SYS_PIDFD_SEND_SIGNAL, fd, signal, null, 0), 'pidfd_send_signal', '')
}

export function mkdirat(fd: number, path: CPath, mode: number): void {
  check(cMkdirat(fd, path, mode), 'mkdirat', path)
}

/** The kernel's number of a device, as glibc's makedev(3) has it. */
function deviceNumber(major: number, minor: number): number {
  return Number(
    ((BigInt(major) & 0xfffff000n) << 32n) |
      ((BigInt(major) & 0xfffn) << 8n) |
      ((BigInt(minor) & 0xffffff00n) << 12n) |
      (BigInt(minor) & 0xffn),
  )
}

export const S_IFMT = fsConstants.S_IFMT
export const S_IFCHR = fsConstants.S_IFCHR
export const S_IFBLK = fsConstants.S_IFBLK
export const S_IFIFO = fsConstants.S_IFIFO

/** @param mode type and permissions */
export function mknodat(fd: number, path: CPath, mode: number, major = 0, minor = 0): void {
  check(cMknodat(fd, path, mode, deviceNumber(major, minor)), 'mknodat', path)
}

export function mkfifo(path: CPath, mode: number): void {
  check(cMkfifo(path, mode), 'mkfifo', path)
}

export function symlinkat(target: CPath, fd: number, path: CPath): void {
  check(cSymlinkat(target, fd, path), 'symlinkat', path)
}

/** A hard link; a symlink at `old` is linked itself, not followed. */
export function linkat(oldFd: number, old: CPath, newFd: number, path: CPath): void {
  check(cLinkat(oldFd, old, newFd, path, 0), 'linkat', path)
}

const AT_SYMLINK_NOFOLLOW = 0x100

export function unlinkat(fd: number, path: CPath): void {
  check(cUnlinkat(fd, path, 0), 'unlinkat', path)
}

const AT_REMOVEDIR = 0x200

/** Removes an empty directory. */
export function rmdirat(fd: number, path: CPath): void {
  check(cUnlinkat(fd, path, AT_REMOVEDIR), 'unlinkat', path)
}

const LINK_BYTES_MAX = 4096

/** Where a symlink that is open itself (O.PATH, O.NOFOLLOW) leads to. */
export function readlinkOfFd(fd: number): Buffer {
  const target = Buffer.alloc(LINK_BYTES_MAX)
  return target.subarray(0, check(cReadlinkat(fd, '', target, target.length), 'readlinkat', ''))
}

/** Changes the owner of the entry itself, also of a symlink. */
export function lchownat(fd: number, path: CPath, uid: number, gid: number): void {
  check(cFchownat(fd, path, uid, gid, AT_SYMLINK_NOFOLLOW), 'fchownat', path)
}

export function fchown(fd: number, uid: number, gid: number): void {
  check(cFchown(fd, uid, gid), 'fchown', '')
}

export function fchmod(fd: number, mode: number): void {
  check(cFchmod(fd, mode), 'fchmod', '')
}

const SYS_FCHMODAT2 = 452
let hasFchmodat2 = true

/** Changes the mode of the entry itself: where a symlink has taken its place, it fails and follows nothing. */
export function lchmodat(fd: number, path: CPath, mode: number): void {
  if (hasFchmodat2) {
    if (cFchmodat2(SYS_FCHMODAT2, fd, path, mode, AT_SYMLINK_NOFOLLOW) === 0) return
    const { ENOSYS, EPERM } = osConstants.errno
    const errno = koffi.errno()
    // A kernel before 6.6, or a filter that does not know the call.
    if (errno !== ENOSYS && errno !== EPERM) throw new SyscallError(errno, 'fchmodat2', path)
    hasFchmodat2 = errno !== ENOSYS
  }
  const itself = openat(fd, path, O.PATH | O.NOFOLLOW)
  try {
    check(cFchmodat(AT_FDCWD, `/proc/self/fd/${itself}`, mode, 0), 'fchmodat', path)
  } finally {
    closeSync(itself)
  }
}

/** A moment as the kernel keeps it; seconds may be negative. */
export interface Timespec {
  seconds: number
  nanoseconds: number
}

/** From nanoseconds since 1970, as node:fs has them with `bigint`. */
export function timespecOfNs(ns: bigint): Timespec {
  const seconds = ns / 1_000_000_000n - (ns % 1_000_000_000n < 0n ? 1n : 0n)
  return { seconds: Number(seconds), nanoseconds: Number(ns - seconds * 1_000_000_000n) }
}

const times = Buffer.alloc(32)

function fillTimes({ seconds, nanoseconds }: Timespec): Buffer {
  const high = Math.floor(seconds / 0x1_0000_0000)
  const low = seconds - high * 0x1_0000_0000
  for (const at of [0, 16]) {
    times.writeUInt32LE(low, at)
    times.writeInt32LE(high, at + 4)
    times.writeUInt32LE(nanoseconds, at + 8)
  }
  return times
}

/** Sets access and modification time of the entry itself, also of a symlink. */
export function lutimesat(fd: number, path: CPath, time: Timespec): void {
  check(cUtimensat(fd, path, fillTimes(time), AT_SYMLINK_NOFOLLOW), 'utimensat', path)
}

export function futimens(fd: number, time: Timespec): void {
  check(cFutimens(fd, fillTimes(time)), 'futimens', '')
}

/** @param flags CLONE flags; in a worker thread FS, NEWNS and NEWNET concern that thread alone */
export function unshare(flags: number): void {
  check(cUnshare(flags), 'unshare', '')
}

/** @param type a CLONE flag, or 0 for whatever the descriptor is */
export function setns(fd: number, type: number): void {
  check(cSetns(fd, type), 'setns', '')
}

/** Programs and threads that this thread starts from now on have the usual priority, where its own is higher. @see sched(7) */
export function resetPriorityOnFork(): void {
  const SCHED_OTHER = 0
  const SCHED_RESET_ON_FORK = 0x40000000
  check(cSetScheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, Buffer.alloc(4)), 'sched_setscheduler', '')
}

/** The mask of the thread's file system context: the whole process's, unless the thread has unshared CLONE.FS. */
export function umask(mask: number): number {
  return cUmask(mask)
}

/** The working directory of the thread's file system context; see umask. */
export function chdir(path: CPath): void {
  check(cChdir(path), 'chdir', path)
}

/** Takes an exclusive lock, held until every descriptor of this opening is closed. @throws SyscallError EAGAIN when another has it */
export function flock(fd: number): void {
  check(cFlock(fd, LOCK_EX_NB), 'flock', `fd ${fd}`)
}

/** Writes a whole file system to its disk; runs beside the event loop, and an abort only stops the waiting. */
export function syncfs(fd: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted()
    const onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    cSyncfs.async(fd, (err: unknown, result: number) => {
      signal.removeEventListener('abort', onAbort)
      if (err) reject(err)
      else if (result < 0) reject(new SyscallError(koffi.errno(), 'syncfs', ''))
      else resolve()
    })
  })
}
