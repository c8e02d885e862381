import type { Mount } from '../host/mounts.ts'
import { LayersOnDisk, stackOptions } from './layers-on-disk.ts'
import type { SnapshotKind, Snapshotter } from './snapshotter.ts'
import { stacked } from './stacked.ts'

/**
 * Options of every mount, whatever the kernel's defaults are; docs/adr/0016-snapshotters.md says why. `index=off`: layers
 * are shared by many mounts. `metacopy=off` and `redirect_dir=off`: an upper directory has all of what changed, so that it
 * can be read as a layer.
 */
const OPTIONS = ['index=off', 'metacopy=off', 'redirect_dir=off']

/** One directory a layer, stacked by the kernel. @see containerd, snapshots/overlay/overlay.go */
export async function openOverlayfs(root: string): Promise<Snapshotter> {
  const layers = await LayersOnDisk.open(root)
  return {
    ...stacked(layers),
    name: 'overlayfs',
    kind: 'overlay',
    boundsSize: true,
    unavailable: async () => undefined,

    create(
      id: string,
      _kind: 'active' | 'view',
      [parent]: readonly string[],
      signal: AbortSignal,
      sizeBytes?: number,
    ): Promise<void> {
      return layers.create(id, parent, sizeBytes === undefined ? undefined : { bytes: sizeBytes, signal })
    },

    async mounts(id: string, kind: SnapshotKind, parents: readonly string[]): Promise<Mount[]> {
      const stack = layers.stack(id, kind, parents)
      if ('type' in stack) return [stack]
      // Files that are copied up while a layer is extracted need not be synced one by one.
      const volatile = kind === 'unpacking' ? ['volatile'] : []
      return [{ type: 'overlay', source: 'overlay', options: [...OPTIONS, ...volatile, ...stackOptions(stack)] }]
    },
  }
}
