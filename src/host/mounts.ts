import { execFile } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { mkdtemp, readdir, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { PurserError } from '../model/errors.ts'
import { DATA_BYTES_MAX, mountLongOptions } from './long-overlay.ts'
import { mountMapped } from './mapped-mount.ts'
import { errnoOf, MNT_DETACH, MS, mount, umount } from './syscalls.ts'
import type { IdMap } from './user-namespace.ts'

export type { IdMap } from './user-namespace.ts'

/** One mount as containerd's API has it. @see containerd, api/types/mount.proto */
export interface Mount {
  type: string
  source: string
  /** As in fstab: flags by name, and the file system's own. */
  options: string[]
}

/** Flags by name; `clear` takes away what an earlier option set. */
const FLAGS: Record<string, { set?: number; clear?: number }> = {
  async: { clear: MS.SYNCHRONOUS },
  atime: { clear: MS.NOATIME },
  bind: { set: MS.BIND },
  defaults: {},
  dev: { clear: MS.NODEV },
  diratime: { clear: MS.NODIRATIME },
  dirsync: { set: MS.DIRSYNC },
  exec: { clear: MS.NOEXEC },
  lazytime: { set: MS.LAZYTIME },
  mand: { set: MS.MANDLOCK },
  noatime: { set: MS.NOATIME },
  nodev: { set: MS.NODEV },
  nodiratime: { set: MS.NODIRATIME },
  noexec: { set: MS.NOEXEC },
  nomand: { clear: MS.MANDLOCK },
  norelatime: { clear: MS.RELATIME },
  nostrictatime: { clear: MS.STRICTATIME },
  nosuid: { set: MS.NOSUID },
  rbind: { set: MS.BIND | MS.REC },
  relatime: { set: MS.RELATIME },
  remount: { set: MS.REMOUNT },
  ro: { set: MS.RDONLY },
  rw: { clear: MS.RDONLY },
  strictatime: { set: MS.STRICTATIME },
  suid: { clear: MS.NOSUID },
  sync: { set: MS.SYNCHRONOUS },
}

const PROPAGATION: Record<string, number> = {
  private: MS.PRIVATE,
  rprivate: MS.PRIVATE | MS.REC,
  rshared: MS.SHARED | MS.REC,
  rslave: MS.SLAVE | MS.REC,
  runbindable: MS.UNBINDABLE | MS.REC,
  shared: MS.SHARED,
  slave: MS.SLAVE,
  unbindable: MS.UNBINDABLE,
}

interface ParsedOptions {
  flags: number
  propagation: number[]
  data: string[]
}

/** Splits fstab options into mount(2)'s flags, propagation changes and data. */
export function parseMountOptions(options: readonly string[]): ParsedOptions {
  const parsed: ParsedOptions = { flags: 0, propagation: [], data: [] }
  for (const option of options) {
    const flag = Object.hasOwn(FLAGS, option) ? FLAGS[option] : undefined
    const propagation = Object.hasOwn(PROPAGATION, option) ? PROPAGATION[option] : undefined
    if (flag) parsed.flags = (parsed.flags | (flag.set ?? 0)) & ~(flag.clear ?? 0)
    else if (propagation !== undefined) parsed.propagation.push(propagation)
    else parsed.data.push(option)
  }
  return parsed
}

/**
 * Mounts all, in order, on one target; on failure those already made are taken away again.
 *
 * @param owners how a user namespace maps the owners of files; as they are when left out
 */
export async function mountAll(
  mounts: readonly Mount[],
  target: string,
  signal: AbortSignal,
  owners?: IdMap,
): Promise<void> {
  let made = 0
  try {
    for (const each of mounts) {
      await mountOne(each, target, signal, owners)
      made += 1
    }
  } catch (error) {
    for (; made > 0; made -= 1) umount(target, MNT_DETACH)
    throw error
  }
}

async function mountOne(
  { type, source, options }: Mount,
  target: string,
  signal: AbortSignal,
  owners: IdMap | undefined,
): Promise<void> {
  const { flags, propagation, data } = parseMountOptions(options)
  const isBind = (flags & MS.BIND) !== 0
  const joined = data.join(',')
  const helper = FUSE_TYPE.exec(type)?.[1]
  try {
    if (owners) await mountMapped({ type, source }, target, { flags, data }, owners, signal)
    else if (helper !== undefined) await mountByHelper(helper, options, target, signal)
    else if (Buffer.byteLength(joined) > DATA_BYTES_MAX) await mountLongOptions(type, source, target, flags, data)
    else mount(source, target, isBind ? null : type, flags, joined === '' ? null : joined)
    // A bind mount takes its flags only from a second call. @see mount(2), "Creating a bind mount"
    if (!owners && isBind && (flags & ~(MS.BIND | MS.REC)) !== 0) mount(null, target, null, flags | MS.REMOUNT, null)
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof PurserError) throw error
    throw new PurserError(
      'failed_precondition',
      `cannot mount ${type} from ${source} on ${target}: ${error instanceof Error ? error.message : String(error)}`,
      {
        remedy: 'the kernel log (dmesg) has the reason',
        cause: error,
      },
    )
  }
  for (const change of propagation) mount(null, target, null, change, null)
}

/** As containerd names file systems of a user-space program: `fuse3.fuse-overlayfs`. */
const FUSE_TYPE = /^fuse3?\.([a-z0-9-]+)$/

/** The program answers once the mount is there, and serves it in the background until it is unmounted. */
async function mountByHelper(program: string, options: readonly string[], target: string, signal: AbortSignal) {
  const run = promisify(execFile)
  await run(program, ['-o', options.join(','), target], { signal, cwd: '/' })
}

/** Takes away every mount on the target, lazily those in use; a target that has none, or is not there, is fine. */
export function unmount(target: string): void {
  for (let mountsMax = 128; mountsMax > 0; mountsMax -= 1) {
    try {
      umount(target)
    } catch (error) {
      const errno = errnoOf(error)
      if (errno === 'EINVAL' || errno === 'ENOENT') return
      if (errno !== 'EBUSY') throw error
      umount(target, MNT_DETACH)
    }
  }
}

export interface TemporaryMount extends AsyncDisposable {
  readonly path: string
}

/** Mounts on a new directory below `dir`; disposal unmounts and removes it. */
export async function mountTemporarily(
  mounts: readonly Mount[],
  dir: string,
  signal: AbortSignal,
): Promise<TemporaryMount> {
  signal.throwIfAborted()
  const path = await mkdtemp(join(dir, 'mount-'))
  try {
    await mountAll(mounts, path, signal)
  } catch (error) {
    await rmdir(path)
    throw error
  }
  return {
    path,
    async [Symbol.asyncDispose]() {
      unmount(path)
      await rmdir(path)
    },
  }
}

/** Takes away what a process that was killed had mounted temporarily. @param dir that it mounted below; nobody else does */
export async function removeTemporaryMounts(dir: string): Promise<void> {
  for (const name of await readdir(dir)) {
    const path = join(dir, name)
    unmount(path)
    await rmdir(path)
  }
}

/** A line of mountinfo. @see proc_pid_mountinfo(5) */
export interface MountedFilesystem {
  id: number
  parentId: number
  /** `major:minor` */
  device: string
  /** The directory of the file system that is seen at the target. */
  root: string
  target: string
  options: string[]
  type: string
  source: string
  superOptions: string[]
}

/** All mounts of this thread's namespace, in mount order. */
export function listMounts(): MountedFilesystem[] {
  const fd = openSync('/proc/thread-self/mountinfo', 'r')
  try {
    return parseMountinfo(readFileSync(fd, 'utf8'))
  } finally {
    closeSync(fd)
  }
}

export function parseMountinfo(text: string): MountedFilesystem[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [left = '', right = ''] = line.split(' - ')
      const [id, parentId, device = '', root = '', target = '', options = ''] = left.split(' ')
      const [type = '', source = '', superOptions = ''] = right.split(' ')
      return {
        id: Number(id),
        parentId: Number(parentId),
        device,
        root: unescapeOctal(root),
        target: unescapeOctal(target),
        options: options.split(','),
        type,
        source: unescapeOctal(source),
        superOptions: superOptions.split(','),
      }
    })
}

const unescapeOctal = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
