import { closeSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { PurserError } from '../model/errors.ts'
import * as fsmount from './mount-api.ts'
import { AT_FDCWD, errnoOf, O, openat } from './syscalls.ts'

/** mount(2) copies one page of data; the last byte is its end. */
export const DATA_BYTES_MAX = 4095

/** fsconfig(2) takes a string of so many bytes. */
const VALUE_BYTES_MAX = 255

/** Kernels before 6.7 know no `lowerdir+`, those before 5.2 no fsopen(2). */
const UNKNOWN = new Set(['EINVAL', 'ENOSYS', 'EPERM'])

/**
 * Mounts an overlay whose options do not fit the page that mount(2) takes: one lower directory at a time, or, where the
 * kernel cannot do that, by paths relative to the directory that all of them share.
 *
 * @param flags of mount(2)
 * @param data options of the file system
 */
export async function mountLongOptions(
  type: string,
  source: string,
  target: string,
  flags: number,
  data: readonly string[],
): Promise<void> {
  if (type !== 'overlay') throw tooLong(data.join(','))
  try {
    mountOneByOne(source, target, flags, data)
  } catch (error) {
    if (!UNKNOWN.has(errnoOf(error) ?? '')) throw error
    await mountFromCommonDirectory(type, source, target, flags, data)
  }
}

/** @see kernel, Documentation/filesystems/overlayfs.rst, "Multiple lower layers" */
function mountOneByOne(source: string, target: string, flags: number, data: readonly string[]): void {
  using open = new DisposableStack()
  const keep = (fd: number): number => {
    open.defer(() => closeSync(fd))
    return fd
  }
  // A path that is too long is given by a descriptor.
  const named = (path: string): string =>
    Buffer.byteLength(path) <= VALUE_BYTES_MAX
      ? path
      : `/proc/self/fd/${keep(openat(AT_FDCWD, path, O.PATH | O.DIRECTORY))}`
  const context = keep(fsmount.fsopen('overlay'))
  fsmount.setString(context, 'source', source)
  fsmount.setOverlayOptions(context, data, named)
  fsmount.create(context)
  fsmount.moveMount(keep(fsmount.fsmount(context, fsmount.attributesOfFlags(flags))), target)
}

/**
 * The mount is made by a thread whose working directory, its own by unshare(CLONE_FS), is the directory that all paths
 * share, so that they can be given relative to it.
 */
async function mountFromCommonDirectory(
  type: string,
  source: string,
  target: string,
  flags: number,
  data: readonly string[],
): Promise<void> {
  const { directory, options } = relativeOverlayOptions(data)
  const joined = options.join(',')
  if (Buffer.byteLength(joined) > DATA_BYTES_MAX) throw tooLong(joined)
  const thread = new Worker(new URL('./mount-thread.ts', import.meta.url), {
    workerData: { directory, source, target, type, flags, data: joined },
  })
  await new Promise<void>((resolve, reject) => {
    thread.once('error', reject)
    thread.once('exit', () => resolve())
  })
}

const tooLong = (options: string): PurserError =>
  new PurserError(
    'failed_precondition',
    `the mount options have ${Buffer.byteLength(options)} bytes, the kernel takes ${DATA_BYTES_MAX}`,
    { remedy: 'use an image of fewer layers, or a kernel of 6.7 or later' },
  )

const PATH_OPTION = /^(lowerdir|upperdir|workdir)=(.*)$/s

/** The directory that all paths of overlay options share, and the options with paths relative to it. */
export function relativeOverlayOptions(data: readonly string[]): { directory: string; options: string[] } {
  const paths = data.flatMap((option) => PATH_OPTION.exec(option)?.[2]?.split(':') ?? [])
  let directory = paths[0] ?? '/'
  do directory = directory.slice(0, Math.max(directory.lastIndexOf('/'), 0))
  while (!paths.every((path) => path.startsWith(`${directory}/`)))
  const options = data.map((option) => {
    const [, name, value] = PATH_OPTION.exec(option) ?? []
    if (name === undefined || value === undefined) return option
    const relative = value.split(':').map((path) => path.slice(directory.length + 1))
    return `${name}=${relative.join(':')}`
  })
  return { directory: directory === '' ? '/' : directory, options }
}
