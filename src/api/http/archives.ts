import { z } from 'zod'
import { digestSchema } from '../../model/digest.ts'
import { PurserError } from '../../model/errors.ts'
import { defineRoute, noQuery, type Resource } from './route.ts'

const ingestSchema = z.strictObject({ id: z.string(), sizeBytes: z.int().nonnegative() })

const archivedSchema = z.strictObject({
  entry: z.int().nonnegative().describe('what image.import takes'),
  format: z.enum(['oci', 'docker']),
  name: z.string().optional().describe('canonical; none where the archive gives none'),
  digest: digestSchema.optional().describe('of its index or manifest; an older docker archive has none'),
})

/** Images as archives: their bytes, which pass neither queue nor log. */
export const archives: Resource = {
  name: 'archives',
  routes: [
    defineRoute({
      method: 'PUT',
      path: '/v1/ingests/{id}',
      summary: 'Send an archive of images, whole or piece by piece; image.import then takes images out of it',
      scope: 'node',
      query: z.strictObject({
        offset: z.coerce.number().int().nonnegative().default(0).describe('bytes that are there already; 0 begins it'),
      }),
      upload: 'application/x-tar',
      answers: { 200: { description: 'what is there of it now', schema: ingestSchema } },
      handle: async ({ services, params, query, upload, signal }) => {
        if (!upload) throw new PurserError('invalid_argument', 'there is no body', { remedy: 'send a tar' })
        const { sizeBytes } = await services.archives.append(params.id, query.offset, upload, signal)
        return { status: 200, body: { id: params.id, sizeBytes } }
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/ingests/{id}',
      summary: 'How much of an archive has arrived',
      scope: 'node',
      query: noQuery,
      answers: { 200: { description: 'what is there of it', schema: ingestSchema } },
      handle: async ({ services, params: { id } }) => ({
        status: 200,
        body: { id, sizeBytes: await services.archives.sizeOf(id) },
      }),
    }),
    defineRoute({
      method: 'DELETE',
      path: '/v1/ingests/{id}',
      summary: 'Drop an archive that was sent; after an hour that happens by itself',
      scope: 'node',
      query: noQuery,
      answers: { 204: { description: 'it is gone' } },
      handle: async ({ services, params }) => {
        await services.archives.remove(params.id)
        return { status: 204, body: undefined }
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/ingests/{id}/images',
      summary: 'The images of an archive that was sent',
      scope: 'node',
      query: z.strictObject({
        baseName: z.string().max(1024).optional().describe('repository of images that are given by a tag alone'),
      }),
      answers: { 200: { description: 'in their order', schema: z.strictObject({ items: z.array(archivedSchema) }) } },
      handle: async ({ services, params, query, signal }) => ({
        status: 200,
        body: { items: await services.archives.images(params.id, query.baseName, signal) },
      }),
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/exports/{command}',
      summary: 'The archive that a succeeded image.export has announced: an OCI layout that docker loads too',
      scope: 'namespace',
      query: noQuery,
      streams: 'always',
      answers: { 200: { description: 'a tar', mediaTypes: ['application/x-tar'] } },
      handle: async ({ services, params, namespace, signal, stream }) => {
        const bytes = await services.archives.export(namespace, params.command, signal)
        const out = stream('application/x-tar')
        for await (const piece of bytes) await out.write(piece)
        out.end()
        return 'streamed'
      },
    }),
  ],
}
