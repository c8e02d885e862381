import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { type IdMap, type Mount, mountAll } from '../../host/mounts.ts'
import { PurserError } from '../../model/errors.ts'
import { mountPoint } from './live-task.ts'

/** What is mounted on the host for one task, and bound into it; it goes with the bundle. */
export interface TaskMount {
  /** Of its place in the bundle. */
  name: string
  mounts: readonly Mount[]
  /** How a user namespace maps the owners of files. */
  owners?: IdMap | undefined
}

/** The bundle is there. */
export async function mountForTask(bundle: string, mounts: readonly TaskMount[], signal: AbortSignal): Promise<void> {
  for (const { name, mounts: own, owners } of mounts) {
    const target = mountPoint(bundle, name)
    mkdirSync(target, { recursive: true, mode: 0o711 })
    await mountAll(own, target, signal, owners)
  }
}

/** Snapshotters of which the layers are plain directories of the host. */
const PLAIN = new Set(['native', 'overlayfs'])

/**
 * Mounts a root file system whose owners are seen as a user namespace maps them; on disk they stay as the image has them.
 *
 * @throws PurserError failed_precondition where kernel, file system or snapshotter cannot
 */
export async function mountMappedRoot(
  bundle: string,
  rootfs: readonly Mount[],
  { snapshotter, owners }: { snapshotter: string; owners: IdMap },
  signal: AbortSignal,
): Promise<void> {
  if (!PLAIN.has(snapshotter)) {
    throw new PurserError('failed_precondition', `snapshots of ${snapshotter} cannot be mapped to a user namespace`, {
      remedy: 'use the snapshotter overlayfs or native, or no --userns',
      field: 'options.userns',
    })
  }
  await mountAll(rootfs, join(bundle, 'rootfs'), signal, owners)
}
