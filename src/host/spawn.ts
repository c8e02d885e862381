import { closeSync } from 'node:fs'
import koffi from 'koffi'
import { O, SyscallError } from './syscalls.ts'

/** @see spawn.h of glibc; both structures are opaque, and smaller than this on every architecture */
const STRUCT_BYTES = 512
const INT_BYTES = 4
const SETSIGDEF = 0x04
const SETSIGMASK = 0x08
const SETSID = 0x80

/** A set of 1024 signals. @see signal.h */
const NO_SIGNAL = Buffer.alloc(128)
const ALL_SIGNALS = Buffer.alloc(128, 0xff)

const F_DUPFD_CLOEXEC = 1030
const WNOHANG = 1

const libc = koffi.load(null)
const cSpawn = libc.func('posix_spawn', 'int', ['void *', 'str', 'void *', 'void *', 'const char **', 'const char **'])
const cActionsInit = libc.func('posix_spawn_file_actions_init', 'int', ['void *'])
const cActionsDestroy = libc.func('posix_spawn_file_actions_destroy', 'int', ['void *'])
const cAddDup2 = libc.func('posix_spawn_file_actions_adddup2', 'int', ['void *', 'int', 'int'])
const cAddChdir = libc.func('posix_spawn_file_actions_addchdir_np', 'int', ['void *', 'str'])
const cAttributesInit = libc.func('posix_spawnattr_init', 'int', ['void *'])
const cSetFlags = libc.func('posix_spawnattr_setflags', 'int', ['void *', 'short'])
const cSetMask = libc.func('posix_spawnattr_setsigmask', 'int', ['void *', 'void *'])
const cSetDefault = libc.func('posix_spawnattr_setsigdefault', 'int', ['void *', 'void *'])
const cFcntl = libc.func('int fcntl(int fd, int command, ...)')
const cPipe = libc.func('pipe2', 'int', ['void *', 'int'])
const cWait = libc.func('waitpid', 'int', ['int', 'void *', 'int'])

export interface SpawnRequest {
  /** Absolute path. */
  file: string
  args: readonly string[]
  cwd: string
  env: Readonly<Record<string, string>>
  /** Ours by their numbers in the child; it gets no others. Below 64 all of them. */
  descriptors: ReadonlyMap<number, number>
}

/** Above every number that a child's descriptors have. */
const CLEAR_OF_THE_CHILDS = 64

/**
 * Starts a program in a session of its own, without a copy of this process: fork(2), which Node uses, copies the tables of
 * all our memory and has us pay for each page once more when it is written to next. The caller collects the child with
 * {@link collectChild}.
 *
 * @returns the child's pid
 * @throws SyscallError ENOENT, EACCES when it cannot be executed, or its directory not entered
 * @see posix_spawn(3)
 */
export function spawnProgram({ file, args, cwd, env, descriptors }: SpawnRequest): number {
  const actions = Buffer.alloc(STRUCT_BYTES)
  const attributes = Buffer.alloc(STRUCT_BYTES)
  using undo = new DisposableStack()
  check(cActionsInit(actions), file)
  undo.defer(() => cActionsDestroy(actions))
  // Out of the way first: one that is put in place must not close another that is still to be.
  const moved = [...descriptors].map(([childs, ours]) => {
    const copy = cFcntl(ours, F_DUPFD_CLOEXEC, 'int', CLEAR_OF_THE_CHILDS)
    if (copy < 0) throw new SyscallError(koffi.errno(), 'fcntl', file)
    undo.defer(() => closeSync(copy))
    return [childs, copy] as const
  })
  for (const [childs, copy] of moved) check(cAddDup2(actions, copy, childs), file)
  check(cAddChdir(actions, cwd), file)
  check(cAttributesInit(attributes), file)
  check(cSetFlags(attributes, SETSIGDEF | SETSIGMASK | SETSID), file)
  check(cSetMask(attributes, NO_SIGNAL), file)
  check(cSetDefault(attributes, ALL_SIGNALS), file)
  const pid = Buffer.alloc(INT_BYTES)
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`)
  check(cSpawn(pid, file, actions, attributes, [file, ...args, null], [...variables, null]), file)
  return pid.readInt32LE()
}

/** These return the error number instead of setting it. */
function check(errno: number, file: string): void {
  if (errno !== 0) throw new SyscallError(errno, 'posix_spawn', file)
}

/** Both ends are closed in programs that are executed. */
export function makePipe(): { read: number; write: number } {
  const ends = Buffer.alloc(2 * INT_BYTES)
  if (cPipe(ends, O.CLOEXEC) < 0) throw new SyscallError(koffi.errno(), 'pipe2', '')
  return { read: ends.readInt32LE(), write: ends.readInt32LE(INT_BYTES) }
}

/**
 * Takes the status of a child that has ended, after which its pid may be another process's.
 *
 * @returns its exit code, 128 and the number of the signal that ended it, or undefined while it runs
 * @throws SyscallError ECHILD when it has been collected
 * @see waitpid(2)
 */
export function collectChild(pid: number): number | undefined {
  const status = Buffer.alloc(INT_BYTES)
  const collected = cWait(pid, status, WNOHANG)
  if (collected < 0) throw new SyscallError(koffi.errno(), 'waitpid', String(pid))
  if (collected === 0) return undefined
  const signal = status.readInt32LE() & 0x7f
  return signal === 0 ? (status.readInt32LE() >> 8) & 0xff : 128 + signal
}
