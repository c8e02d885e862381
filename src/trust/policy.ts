import { createHash } from 'node:crypto'
import { z } from 'zod'
import { digestSchema } from '../model/digest.ts'

const path = z.string().startsWith('/', 'a path is absolute: begin it with /')

const match = z
  .string()
  .min(1)
  .max(512)
  .describe('registry/repository; * is any part between slashes, ** whatever follows: registry.example/team/*')

const mode = z.enum(['any', 'all']).default('any').describe('whether one of the keys and identities suffices')
const rollback = z
  .enum(['refuse', 'allow'])
  .default('refuse')
  .describe(
    'a tag that stands again for an image which another one had replaced: an old signature is still a signature',
  )

const cosign = z.strictObject({
  match,
  require: z.literal('cosign'),
  mode,
  rollback,
  keys: z.array(path).default([]).describe('public keys (PEM)'),
  identities: z
    .array(
      z.strictObject({
        issuer: z.url().describe('who vouches for the identity: an OpenID provider'),
        subject: z.string().min(1).describe('an address or URI; /…/ is a regular expression of all of it'),
      }),
    )
    .default([])
    .describe('whom certificates are for'),
  trustedRoot: path.optional().describe('trusted_root.json of the sigstore instance that certifies identities'),
  transparencyLog: z.boolean().default(true).describe('whether signatures by identities must be in its log'),
})

const notation = z.strictObject({
  match,
  require: z.literal('notation'),
  mode,
  rollback,
  trustStore: z.array(path).min(1).describe('certificates of authorities (PEM)'),
  identities: z
    .array(z.string().min(1))
    .min(1)
    .describe('x509 subjects that all of these parts are in, such as "CN=build, O=Example"; * for any'),
})

const policySchema = z.discriminatedUnion('require', [
  cosign
    .refine(({ keys, identities }) => keys.length + identities.length > 0, 'name keys or identities')
    .refine(({ identities, trustedRoot }) => identities.length === 0 || trustedRoot !== undefined, {
      message: 'identities need a trustedRoot',
      path: ['trustedRoot'],
    }),
  notation,
  z.strictObject({ match, require: z.literal('nothing') }),
  z.strictObject({ match, require: z.literal('refusal') }).describe('images of it are never used'),
])

/** `[trust]` of the configuration. */
export const trustSchema = z
  .strictObject({
    deny: z.array(digestSchema).default([]).describe('digests of images that are never used'),
    policy: z
      .array(policySchema)
      .default([])
      .describe('the first one that fits counts; without any nothing is required'),
  })
  .prefault({})

export type TrustConfig = z.output<typeof trustSchema>
export type TrustPolicy = TrustConfig['policy'][number]
export type CosignPolicy = Extract<TrustPolicy, { require: 'cosign' }>
export type NotationPolicy = Extract<TrustPolicy, { require: 'notation' }>

/** Changes whenever the policy does, or what is in the files that it names. @param files their content, in order */
export function fingerprintOf(policy: TrustPolicy, files: readonly Buffer[]): string {
  const hash = createHash('sha256').update(JSON.stringify(policy))
  for (const file of files) hash.update(`${file.length}\n`).update(file)
  return hash.digest('base64url').slice(0, 22)
}
