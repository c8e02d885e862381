import { closeSync, readSync } from 'node:fs'
import { join } from 'node:path'
import type { ContainerState } from '../../commands/container.ts'
import { parentDirs, snapshot, snapshotId } from '../../commands/snapshot.ts'
import type { Mount } from '../../host/mounts.ts'
import { errnoOf, O, openat2, RESOLVE } from '../../host/syscalls.ts'
import type { View } from '../../model/aggregate.ts'
import { PurserError } from '../../model/errors.ts'
import { USER_FILE_BYTES_MAX, type UserFiles } from '../../oci/spec/users.ts'
import type { Snapshotter } from '../../snapshotters/snapshotter.ts'
import type { LiveTask } from './live-task.ts'

type PresentContainer = Exclude<ContainerState, { status: 'absent' }>

/** What a container's rootfs is mounted from; its shim does it, below the bundle, and takes it away when the task is deleted. */
export function rootfsMounts(
  view: View,
  snapshotters: ReadonlyMap<string, Snapshotter>,
  namespace: string,
  made: PresentContainer,
  signal: AbortSignal,
): Promise<Mount[]> {
  return snapshotMounts(view, snapshotters, namespace, made, signal)
}

/** What one of a container's snapshots is mounted from. */
export async function snapshotMounts(
  view: View,
  snapshotters: ReadonlyMap<string, Snapshotter>,
  namespace: string,
  made: Pick<PresentContainer, 'snapshotter' | 'snapshotKey'>,
  signal: AbortSignal,
): Promise<Mount[]> {
  const id = snapshotId(made.snapshotter, made.snapshotKey)
  const state = view.get(snapshot, namespace, id)
  const snapshotter = snapshotters.get(made.snapshotter)
  if (!snapshotter || (state.status !== 'active' && state.status !== 'view')) {
    throw new PurserError(
      'failed_precondition',
      `snapshot ${id} is ${snapshotter ? state.status : 'of no known snapshotter'}`,
      {
        remedy: 'create the container anew',
      },
    )
  }
  const parents = parentDirs(view, namespace, made.snapshotter, state.parent)
  return await snapshotter.mounts(state.dir, state.status, parents, signal)
}

/** The user files of a running container as they are now. */
export async function usersIn({ bundle, shim, isApart }: LiveTask, signal: AbortSignal): Promise<UserFiles> {
  return readUserFiles(isApart ? `/proc/${(await shim.connect(signal)).taskPid}/root` : join(bundle, 'rootfs'))
}

/** The image's own user files; a link in the image leads nowhere outside its root. */
export function readUserFiles(rootfs: string): UserFiles {
  const passwd = readBeneath(rootfs, 'etc/passwd')
  const group = readBeneath(rootfs, 'etc/group')
  return { ...(passwd === undefined ? {} : { passwd }), ...(group === undefined ? {} : { group }) }
}

function readBeneath(rootfs: string, path: string): string | undefined {
  let root: number | undefined
  let fd: number | undefined
  try {
    root = openat2(-100, rootfs, O.DIRECTORY | O.PATH, 0)
    fd = openat2(root, path, O.RDONLY | O.NONBLOCK, RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS)
    const buffer = Buffer.alloc(USER_FILE_BYTES_MAX + 1)
    let length = 0
    for (let read = -1; read !== 0 && length < buffer.length; length += read)
      read = readSync(fd, buffer, length, buffer.length - length, null)
    return buffer.toString('utf8', 0, length)
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === 'ENOENT' || errno === 'ENOTDIR' || errno === 'ELOOP' || errno === 'EISDIR') return undefined
    throw error
  } finally {
    if (fd !== undefined) closeSync(fd)
    if (root !== undefined) closeSync(root)
  }
}
