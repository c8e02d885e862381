import { Bandwidth } from '../content/bandwidth.ts'
import { Connections } from '../content/connections.ts'
import type { ContentStore } from '../content/store.ts'
import { Transfers } from '../workers/pull/transfers.ts'
import { Unpacks } from '../workers/pull/unpacks.ts'
import type { Config } from './config.ts'

/** What pulls share on the node. */
export function pulling(config: Config['pull'], content: ContentStore) {
  return {
    transfers: new Transfers({
      content,
      connections: new Connections(config.connections),
      bandwidth: new Bandwidth(config.bytesPerSecond ?? Number.POSITIVE_INFINITY),
      chunks: { sizeBytes: config.chunkBytes, atOnce: config.chunksAtOnce },
    }),
    unpacks: new Unpacks(),
    stall: { bytesMin: config.stallBytes, timeoutMs: config.stallTimeout },
  }
}
