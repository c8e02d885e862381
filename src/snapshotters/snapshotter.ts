import type { Mount } from '../host/mounts.ts'

export type SnapshotKind = 'active' | 'view' | 'committed'

/** Where a layer is extracted to. */
export interface LayerTarget {
  path: string
  /** `alone`: into a directory of its own, in any order; `on-parents`: where the layers below already are. */
  placement: 'alone' | 'on-parents'
}

/**
 * Keeps snapshots on disk, containerd's way. Which there are, of what kind and with which parents is in the event log;
 * here an id is only the name of a directory. Parents are named topmost first.
 */
export interface Snapshotter {
  readonly name: string
  /** Makes the directories of a new snapshot. */
  create(id: string, parents: readonly string[], signal: AbortSignal): Promise<void>
  /** What to mount to see it. */
  mounts(id: string, kind: SnapshotKind, parents: readonly string[]): Mount[]
  layerTarget(id: string): LayerTarget
  /** Removes it; what is not there is removed already. */
  remove(id: string, signal: AbortSignal): Promise<void>
  usage(id: string, signal: AbortSignal): Promise<{ sizeBytes: number; inodes: number }>
  /** Ids on disk. */
  list(): Promise<string[]>
  /** Returns when it is on the disk. */
  sync(id: string, signal: AbortSignal): Promise<void>
}
