import type { Bandwidth } from '../../content/bandwidth.ts'
import type { Connections } from '../../content/connections.ts'
import type { DiskSpace } from '../../content/disk-space.ts'
import type { ContentStore } from '../../content/store.ts'
import type { LayerPool } from '../../layers/pool.ts'
import type { Uploads } from '../../layout/uploads.ts'
import type { Progress } from '../../projections/progress.ts'
import { handlersFor } from '../../queue/handler.ts'
import type { RegistryClient } from '../../registry/client.ts'
import type { Snapshotter } from '../../snapshotters/snapshotter.ts'
import type { ImageVerifier } from '../../trust/verifier.ts'
import type { ForeignPolicy } from './resolve.ts'
import type { StallLimit } from './stall-watch.ts'
import type { Transfers } from './transfers.ts'
import type { Unpacks } from './unpacks.ts'

export interface PullEffects {
  content: ContentStore
  registry: RegistryClient
  layers: LayerPool
  snapshotters: ReadonlyMap<string, Snapshotter>
  transfers: Transfers
  /** What pulls and pushes share. */
  network: { connections: Connections; bandwidth: Bandwidth }
  disk: DiskSpace
  unpacks: Unpacks
  stall: StallLimit
  /** What becomes of layers that are unpacked, where a pull does not say it. */
  unpackedLayers: 'keep' | 'discard'
  foreignLayers: ForeignPolicy
  progress: Progress
  uploads: Uploads
  trust: ImageVerifier
  /** For blobs that are not what their digests say. */
  quarantineDir: string
  /** For mounts that are needed for a moment. */
  runDir: string
}

export const definePullHandler = handlersFor<PullEffects>()
