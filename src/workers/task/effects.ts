import type { CdiDevices } from '../../cdi/devices.ts'
import type { ContentStore } from '../../content/store.ts'
import type { LayerPool } from '../../layers/pool.ts'
import type { Uploads } from '../../layout/uploads.ts'
import type { Networks } from '../../network/networks.ts'
import { handlersFor } from '../../queue/handler.ts'
import type { NodeSignatures } from '../../secrets/node-signatures.ts'
import type { SealingKey } from '../../secrets/sealing-key.ts'
import type { Shims } from '../../shim/shims.ts'
import type { Snapshotter } from '../../snapshotters/snapshotter.ts'
import type { ContainerLogs } from './container-logs.ts'
import type { IdRanges } from './id-ranges.ts'
import type { InitProgram } from './init-program.ts'
import type { Workspaces } from './job/workspaces.ts'
import type { TaskPaths } from './paths.ts'
import type { PoolMembers } from './pool/members.ts'
import type { ContainerRoots } from './roots.ts'
import type { LiveSandboxes } from './sandbox/live-sandboxes.ts'
import type { TaskStreams } from './streams.ts'
import type { Tasks } from './tasks.ts'
import type { UserFilesOfImages } from './user-files.ts'

export interface TaskEffects {
  content: ContentStore
  snapshotters: ReadonlyMap<string, Snapshotter>
  shims: Shims
  tasks: Tasks
  sandboxes: LiveSandboxes
  /** The runtime of a sandbox for which none is named. */
  sandboxRuntime: string
  paths: TaskPaths
  networks: Networks
  /** The network of whatever none is named for. */
  defaultNetwork: string
  init: InitProgram
  sealing: SealingKey
  signatures: NodeSignatures
  layers: LayerPool
  poolMembers: PoolMembers
  streams: TaskStreams
  jobs: { artifactBytes: number; workspaces: Workspaces }
  userFiles: UserFilesOfImages
  logs: ContainerLogs
  roots: ContainerRoots
  idRanges: IdRanges
  cdi: CdiDevices
  /** Archives that clients have sent. */
  uploads: Uploads
  /** For mounts that last for a moment. */
  runDir: string
  /** In the image spec's words: `amd64`. */
  architecture: string
  cgroupVersion: 1 | 2
}

export const defineTaskHandler = handlersFor<TaskEffects>()
