import type { DiskSpace } from '../../content/disk-space.ts'
import type { ContentStore } from '../../content/store.ts'
import type { LayerPool } from '../../layers/pool.ts'
import { handlersFor } from '../../queue/handler.ts'
import type { Snapshotter } from '../../snapshotters/snapshotter.ts'

export interface SnapshotEffects {
  snapshotters: ReadonlyMap<string, Snapshotter>
  content: ContentStore
  disk: DiskSpace
  layers: LayerPool
  /** For mounts that are needed for a moment. */
  runDir: string
}

export const defineSnapshotHandler = handlersFor<SnapshotEffects>()
