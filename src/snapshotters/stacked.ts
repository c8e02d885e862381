import type { Mount } from '../host/mounts.ts'
import type { LayersOnDisk } from './layers-on-disk.ts'
import type { LayerTarget, SnapshotKind, Snapshotter, Usage } from './snapshotter.ts'

/** What snapshotters with one directory for each layer have in common, whoever stacks these. */
export abstract class StackedSnapshotter implements Snapshotter {
  abstract readonly name: string
  abstract readonly kind: Snapshotter['kind']
  protected readonly layers: LayersOnDisk

  protected constructor(layers: LayersOnDisk) {
    this.layers = layers
  }

  abstract unavailable(signal: AbortSignal): Promise<string | undefined>

  abstract create(
    id: string,
    kind: 'active' | 'view',
    parents: readonly string[],
    signal: AbortSignal,
    sizeBytes?: number,
  ): Promise<void>

  abstract mounts(id: string, kind: SnapshotKind, parents: readonly string[]): Promise<Mount[]>

  async commit(): Promise<void> {}

  layerTarget(id: string): LayerTarget {
    return { path: this.layers.layer(id), placement: 'alone' }
  }

  remove(id: string): Promise<void> {
    return this.layers.remove(id)
  }

  usage(id: string, signal: AbortSignal): Promise<Usage> {
    return this.layers.usage(id, signal)
  }

  list(): Promise<string[]> {
    return this.layers.list()
  }

  sync(id: string, signal: AbortSignal): Promise<void> {
    return this.layers.sync(id, signal)
  }
}
