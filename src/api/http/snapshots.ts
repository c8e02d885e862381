import { z } from 'zod'
import { image } from '../../commands/image.ts'
import { snapshot, snapshotId } from '../../commands/snapshot.ts'
import { parse } from '../../model/parse.ts'
import { defineRoute, noQuery, type Resource } from './route.ts'

const bytes = z.int().nonnegative()
const inodes = z.int().nonnegative()

const snapshotterSchema = z.strictObject({
  name: z.string(),
  kind: z.string().describe('overlay, copy, fuse, proxy'),
  status: z.enum(['ok', 'unavailable']),
  reason: z.string().optional().describe('why it is unavailable'),
  snapshots: z.int().nonnegative().describe('in all namespaces'),
})

const snapshotUsageSchema = z.strictObject({
  sizeBytes: bytes.describe('allocated on disk, without parents; hard links count once'),
  inodes,
  totalBytes: bytes.describe('with all its parents'),
  totalInodes: inodes,
})

const imageUsageSchema = z.strictObject({
  snapshotter: z.string().optional().describe('where it is unpacked; none where it is not'),
  sizeBytes: bytes.describe('of all its unpacked layers'),
  sharedBytes: bytes.describe('of the layers that other images have as well'),
  uniqueBytes: bytes.describe('of the layers that no other image has'),
  inodes,
  layers: z.array(
    z.strictObject({
      chainId: z.string().describe('key of its snapshot'),
      sizeBytes: bytes,
      inodes,
      images: z.int().positive().describe('how many images have it'),
    }),
  ),
})

/** What snapshots take on disk, and the snapshotters that keep them. */
export const snapshotUsage: Resource = {
  name: 'snapshot-usage',
  routes: [
    defineRoute({
      method: 'GET',
      path: '/v1/snapshotters',
      summary: 'The snapshotters, and whether they can be used',
      scope: 'node',
      query: noQuery,
      answers: { 200: { description: 'all of them', schema: z.strictObject({ items: z.array(snapshotterSchema) }) } },
      handle: async ({ services, signal }) => ({
        status: 200,
        body: { items: await services.snapshots.snapshotters(signal) },
      }),
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/snapshots/{snapshotter}/{key}/usage',
      summary: 'What a snapshot takes on disk; its key is percent-encoded',
      scope: 'namespace',
      query: noQuery,
      answers: { 200: { description: 'its usage', schema: snapshotUsageSchema } },
      handle: async ({ services, namespace, params, signal }) => {
        const id = parse(snapshot.id, snapshotId(params.snapshotter, params.key), 'key')
        return { status: 200, body: await services.snapshots.usage(namespace, id, signal) }
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/images/{name}/usage',
      summary: "What an image's unpacked layers take on disk; bytes shared with other images are told apart",
      scope: 'namespace',
      query: noQuery,
      answers: { 200: { description: 'its usage', schema: imageUsageSchema } },
      handle: async ({ services, namespace, params, signal }) => {
        const name = parse(image.id, params.name, 'name')
        return { status: 200, body: await services.snapshots.imageUsage(namespace, name, signal) }
      },
    }),
  ],
}
