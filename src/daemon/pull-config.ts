import { z } from 'zod'
import { duration } from '../model/duration.ts'

/** `[pull]`: what pulls may take of the node, all together; `connections` and `bytesPerSecond` count pushes too. */
export const pullSchema = z
  .strictObject({
    connections: z.int().min(1).max(1024).default(16).describe('that bring or send blobs, at once'),
    bytesPerSecond: z.int().min(1024).optional().describe('of all blobs together, either way; unbounded by default'),
    chunkBytes: z
      .int()
      .min(1_048_576)
      .default(16_777_216)
      .describe('a blob of two chunks and more is fetched in parallel chunks of this size'),
    chunksAtOnce: z.int().min(1).max(64).default(4).describe('of one blob; 1 fetches it in one piece'),
    minFreeBytes: z.int().min(0).optional().describe('of the disk, which pulls leave; 1 GiB or a twentieth by default'),
    discardUnpackedLayers: z.boolean().default(false).describe('compressed layers go once they are unpacked'),
    foreignLayers: z
      .enum(['fetch', 'refuse'])
      .default('fetch')
      .describe('layers that registries may not distribute: from the URLs that the image names'),
    stallTimeout: duration.prefault('30s').describe('in which an image must get on by stallBytes'),
    stallBytes: z
      .int()
      .min(1)
      .default(65_536)
      .describe('fewer, and its requests are made anew; after five times it fails'),
  })
  .prefault({})
