import { z } from 'zod'
import { ID_MAX } from '../oci/spec/users.ts'

/** `[userns]`: ids of the host for containers with a user namespace of their own. */
export const usernsSchema = z
  .strictObject({
    first: z.int().min(65_536, 'ids below 65536 are of users of the host').default(1_879_048_192).describe('first id'),
    size: z.int().min(1024).max(16_777_216).default(65_536).describe('ids of each container'),
    count: z.int().min(1).max(65_536).default(4000).describe('containers that can have ids of their own at once'),
  })
  .refine(({ first, size, count }) => first + size * count - 1 <= ID_MAX, {
    path: ['count'],
    message: `the last id is above ${ID_MAX}`,
  })
  .prefault({})
