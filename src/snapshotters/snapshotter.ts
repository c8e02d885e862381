import type { Mount } from '../host/mounts.ts'

/** `unpacking`: an active one while a layer is extracted into it; nothing of it needs to be on the disk before `sync`. */
export type SnapshotKind = 'active' | 'unpacking' | 'view' | 'committed'

/**
 * Where a layer is extracted to. `alone`: into a directory of its own, in any order; `on-parents`: only where the layers
 * below can be seen, through a mount.
 */
export type LayerTarget = { placement: 'alone'; path: string } | { placement: 'on-parents' }

export interface Usage {
  /** Allocated on disk, without parents. */
  sizeBytes: number
  inodes: number
}

/**
 * Keeps snapshots on disk, containerd's way. Which there are, of what kind and with which parents is in the event log;
 * here an id is only the name of a directory. Parents are named topmost first.
 */
export interface Snapshotter {
  readonly name: string
  /** What it is, in a word for lists: `overlay`, `copy`, `fuse`, `proxy`. */
  readonly kind: string
  /** Why it cannot be used on this host, as a clause; undefined when it can. */
  unavailable(signal: AbortSignal): Promise<string | undefined>
  /** Whether it can bound what a snapshot has beside its parents. */
  readonly boundsSize?: true
  /**
   * Makes the directories of a new snapshot, on parents that are committed.
   *
   * @param sizeBytes that it can have beside them at most; given only where it can be bounded
   */
  create(
    id: string,
    kind: 'active' | 'view',
    parents: readonly string[],
    signal: AbortSignal,
    sizeBytes?: number,
  ): Promise<void>
  /** What to mount to see it. */
  mounts(id: string, kind: SnapshotKind, parents: readonly string[], signal: AbortSignal): Promise<Mount[]>
  /** An active one is written to no more, and can be a parent; done before, it does nothing. */
  commit(id: string, signal: AbortSignal): Promise<void>
  layerTarget(id: string): LayerTarget
  /** Removes it; what is not there is removed already. */
  remove(id: string, signal: AbortSignal): Promise<void>
  usage(id: string, signal: AbortSignal): Promise<Usage>
  /** Ids that it keeps. */
  list(signal: AbortSignal): Promise<string[]>
  /** Returns when it is on the disk. */
  sync(id: string, signal: AbortSignal): Promise<void>
}
