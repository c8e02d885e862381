import type { ContentStore } from '../../content/store.ts'
import type { Networks } from '../../network/networks.ts'
import { handlersFor } from '../../queue/handler.ts'
import type { Snapshotter } from '../../snapshotters/snapshotter.ts'

export interface GcEffects {
  content: ContentStore
  networks: Networks
  snapshotters: ReadonlyMap<string, Snapshotter>
}

export const defineGcHandler = handlersFor<GcEffects>()
