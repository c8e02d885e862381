import type { Mount } from '../host/mounts.ts'
import { LayersOnDisk, stackOptions } from './layers-on-disk.ts'
import type { SnapshotKind } from './snapshotter.ts'
import { StackedSnapshotter } from './stacked.ts'

/**
 * Options of every mount, whatever the kernel's defaults are; docs/adr/0016-snapshotters.md says why. `index=off`: layers
 * are shared by many mounts. `metacopy=off` and `redirect_dir=off`: an upper directory has all of what changed, so that it
 * can be read as a layer.
 */
const OPTIONS = ['index=off', 'metacopy=off', 'redirect_dir=off']

/** One directory a layer, stacked by the kernel. @see containerd, snapshots/overlay/overlay.go */
export class OverlayfsSnapshotter extends StackedSnapshotter {
  readonly name = 'overlayfs'
  readonly kind = 'overlay'
  readonly boundsSize = true

  static async open(root: string): Promise<OverlayfsSnapshotter> {
    return new OverlayfsSnapshotter(await LayersOnDisk.open(root))
  }

  async unavailable(): Promise<undefined> {}

  create(
    id: string,
    _kind: 'active' | 'view',
    [parent]: readonly string[],
    signal: AbortSignal,
    sizeBytes?: number,
  ): Promise<void> {
    return this.layers.create(id, parent, sizeBytes === undefined ? undefined : { bytes: sizeBytes, signal })
  }

  async mounts(id: string, kind: SnapshotKind, parents: readonly string[]): Promise<Mount[]> {
    const stack = this.layers.stack(id, kind, parents)
    if ('type' in stack) return [stack]
    // Files that are copied up while a layer is extracted need not be synced one by one.
    const volatile = kind === 'unpacking' ? ['volatile'] : []
    return [{ type: 'overlay', source: 'overlay', options: [...OPTIONS, ...volatile, ...stackOptions(stack)] }]
  }
}
