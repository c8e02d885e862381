import { Bandwidth } from '../content/bandwidth.ts'
import { Connections } from '../content/connections.ts'
import { DiskSpace } from '../content/disk-space.ts'
import type { ContentStore } from '../content/store.ts'
import { Transfers } from '../workers/pull/transfers.ts'
import { Unpacks } from '../workers/pull/unpacks.ts'
import type { Config } from './config.ts'

/** What a disk keeps for all else, where nothing is configured. */
const FLOOR = { bytes: 2 ** 30, shareMax: 0.05 }

/** What pulls and pushes share on the node. */
export function pulling({ pull: config, root }: Config, content: ContentStore) {
  const { minFreeBytes } = config
  const floor = minFreeBytes === undefined ? FLOOR : { bytes: minFreeBytes, shareMax: 1 }
  const network = {
    connections: new Connections(config.connections),
    bandwidth: new Bandwidth(config.bytesPerSecond ?? Number.POSITIVE_INFINITY),
  }
  return {
    network,
    disk: new DiskSpace({ path: root, floor }),
    transfers: new Transfers({
      content,
      ...network,
      chunks: { sizeBytes: config.chunkBytes, atOnce: config.chunksAtOnce },
    }),
    unpacks: new Unpacks(),
    unpackedLayers: config.discardUnpackedLayers ? ('discard' as const) : ('keep' as const),
    foreignLayers: config.foreignLayers,
    stall: { bytesMin: config.stallBytes, timeoutMs: config.stallTimeout },
  }
}
