import { z } from 'zod'
import { imageName } from '../../commands/image-name.ts'
import { digestSchema } from '../../model/digest.ts'
import { defineRoute, type Resource } from './route.ts'

const referrer = z.strictObject({
  mediaType: z.string(),
  artifactType: z.string().optional(),
  digest: digestSchema,
  sizeBytes: z.int().nonnegative(),
  annotations: z.record(z.string(), z.string()),
})

const list = defineRoute({
  method: 'GET',
  path: '/v1/referrers',
  summary: 'What refers to an image at its registry: signatures, attestations, SBOMs',
  scope: 'node',
  query: z.strictObject({
    image: imageName.describe('by name; its digest is asked of the registry unless the name has one'),
    artifactType: z.string().min(1).max(255).optional(),
  }),
  answers: {
    200: {
      description: 'as the registry tells it now',
      schema: z.strictObject({
        subject: digestSchema,
        source: z.enum(['api', 'tag']).describe('the referrers API, or the tag that stands in for it'),
        isComplete: z.boolean(),
        referrers: z.array(referrer),
      }),
    },
  },
  async handle({ services, query: { image, artifactType }, signal }) {
    const { referrers, ...rest } = await services.referrers(image, artifactType, signal)
    const body = {
      ...rest,
      referrers: referrers.map(({ mediaType, artifactType: type, digest, sizeBytes, annotations }) => ({
        mediaType,
        ...(type === undefined ? {} : { artifactType: type }),
        digest,
        sizeBytes,
        annotations,
      })),
    }
    return { status: 200, body }
  },
})

export const imageReferrers: Resource = { name: 'referrers', routes: [list] }
