import { closeSync } from 'node:fs'
import { PurserError } from '../model/errors.ts'
import { relativeOverlayOptions } from './long-overlay.ts'
import * as api from './mount-api.ts'
import { errnoOf } from './syscalls.ts'
import { type IdMap, type IdRange, openUserNamespace } from './user-namespace.ts'

/**
 * overlayfs makes files of its own beside the upper directory, as the host's root: on disk they get an owner that is nobody's
 * in a container.
 */
const HOST_ROOT: IdRange = { containerId: 2 ** 32 - 3, hostId: 0, size: 1 }

/** Kernels before 5.12, or file systems that cannot map; an overlay of mounts that are nowhere takes 6.15. */
const UNSUPPORTED = new Set(['ENOSYS', 'EINVAL', 'EPERM', 'ENOTSUP'])

/**
 * A bind mount or an overlay of which the owners are seen as a user namespace maps them: files are root's on disk, and the
 * mapped root's to whoever looks through the mount. What is written through it has unmapped owners on disk too.
 *
 * @param flags of mount(2)
 * @param data options of the file system
 * @see mount_setattr(2), "ID-mapped mounts"
 */
export async function mountMapped(
  { type, source }: { type: string; source: string },
  target: string,
  { flags, data }: { flags: number; data: readonly string[] },
  owners: IdMap,
  signal: AbortSignal,
): Promise<void> {
  using open = new DisposableStack()
  const keep = (fd: number): number => {
    open.defer(() => closeSync(fd))
    return fd
  }
  const map = { uids: [...owners.uids, HOST_ROOT], gids: [...owners.gids, HOST_ROOT] }
  using namespace = await openUserNamespace(map, signal)
  try {
    if (type !== 'overlay') {
      const tree = keep(api.cloneTree(source))
      api.mapOwners(tree, namespace.fd, api.attributesOfFlags(flags))
      api.moveMount(tree, target)
      return
    }
    // All layers are below one directory: it is mapped, and they are found in it.
    const { directory, options } = relativeOverlayOptions(data)
    const tree = keep(api.cloneTree(directory))
    api.mapOwners(tree, namespace.fd, 0)
    const below = (path: string): string => `/proc/self/fd/${tree}/${path}`
    const context = keep(api.fsopen('overlay'))
    api.setString(context, 'source', source)
    api.setOverlayOptions(context, options, below)
    api.create(context)
    api.moveMount(keep(api.fsmount(context, api.attributesOfFlags(flags))), target)
  } catch (error) {
    if (!UNSUPPORTED.has(errnoOf(error) ?? '')) throw error
    throw new PurserError('failed_precondition', `owners of ${source} cannot be mapped here: ${String(error)}`, {
      cause: error,
      remedy: 'use a kernel of 6.15 or later and ext4, xfs, btrfs or tmpfs, or no user namespace',
    })
  }
}
