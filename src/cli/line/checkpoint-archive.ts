import type { PurserClient } from '../../client/index.ts'

export const checkpointArchive = (client: PurserClient, container: string, name: string): AsyncIterable<Uint8Array> =>
  client.download(`/v1/containers/${encodeURIComponent(container)}/checkpoints/${encodeURIComponent(name)}/archive`)
