import { z } from 'zod'
import { image, imageTarget } from '../../commands/image.ts'
import { parse } from '../../model/parse.ts'
import { defineRoute, noQuery, type Resource } from './route.ts'
import { imageSchema } from './schemas.ts'

const layer = imageTarget.shape.layers.element.extend({
  createdBy: z.string().optional().describe('the step that made it'),
  sharedWith: z.array(z.string()).describe('other images that have it'),
})

const detailsSchema = imageSchema.omit({ version: true }).extend({
  layers: z.array(layer),
  names: z.array(z.string()).describe('all that it has'),
  sharedBytes: z.int().nonnegative().describe('of layers that other images have too'),
  uniqueBytes: z.int().nonnegative().describe('what would be free without it'),
  configuration: z.unknown().describe('the document as its author wrote it'),
  history: z.array(z.record(z.string(), z.unknown())),
})

const diffSchema = z.strictObject({
  configuration: z.array(
    z.strictObject({ path: z.string(), one: z.unknown().optional(), other: z.unknown().optional() }),
  ),
  layers: z.strictObject({ common: z.array(z.unknown()), one: z.array(z.unknown()), other: z.array(z.unknown()) }),
  files: z.array(
    z.strictObject({
      path: z.string(),
      change: z.enum(['added', 'removed', 'changed']),
      what: z.array(z.string()).optional(),
    }),
  ),
  fileCount: z.int().nonnegative().describe('of all differences, also of those beyond the first 10,000'),
})

/** What images are made of. */
export const imageDetails: Resource = {
  name: 'image-details',
  routes: [
    defineRoute({
      method: 'GET',
      path: '/v1/images/{name}/details',
      summary: 'An image with its configuration, its history and what it shares with others',
      scope: 'namespace',
      query: noQuery,
      answers: { 200: { description: 'the image', schema: detailsSchema } },
      handle: async ({ services, params, namespace }) => {
        const name = parse(image.id, params.name, 'name')
        return { status: 200, body: await services.imageDetails.of(namespace, name) }
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/images/{name}/diff',
      summary: 'What differs between two images: configuration, layers, files; times of files are not looked at',
      scope: 'namespace',
      query: z.strictObject({ against: z.string().min(1).max(1024).describe('the other image') }),
      answers: { 200: { description: 'the differences', schema: diffSchema } },
      handle: async ({ services, params, query, namespace, signal }) => {
        const [name, against] = [parse(image.id, params.name, 'name'), parse(image.id, query.against, 'against')]
        return { status: 200, body: await services.imageDetails.diff(namespace, name, against, signal) }
      },
    }),
  ],
}
