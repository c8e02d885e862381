import { z } from 'zod'
import { digestSchema } from '../model/digest.ts'
import { PurserError } from '../model/errors.ts'
import { boundedTexts, nullable, parseJson, parseSchema, refused } from './json.ts'
import { isIndexType, isManifestType, isSchema1Type, MEDIA_TYPES } from './media-types.ts'
import { platformSchema } from './platform.ts'

// RFC 6838 section 4.2: a type and a subtype of 127 characters at most.
const mediaType = z
  .string()
  .max(255)
  .regex(/^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}\/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$/, 'not a media type')
const annotations = nullable(boundedTexts, {})

/** @see image-spec, descriptor.md */
export const descriptorSchema = z
  .object({
    mediaType,
    digest: digestSchema,
    size: z.int().nonnegative(),
    urls: nullable(z.array(z.string()), []),
    annotations,
    platform: platformSchema.nullish(),
    artifactType: z.string().nullish(),
  })
  .transform(({ size, platform, artifactType, ...rest }) => ({
    ...rest,
    sizeBytes: size,
    ...(platform ? { platform } : {}),
    ...(artifactType ? { artifactType } : {}),
  }))
export type FullDescriptor = z.output<typeof descriptorSchema>

/** What names content: all that fetching and checking it needs. */
export type Descriptor = Pick<FullDescriptor, 'mediaType' | 'digest' | 'sizeBytes'> & Partial<FullDescriptor>

const indexSchema = z.object({
  schemaVersion: z.literal(2),
  manifests: nullable(z.array(descriptorSchema), []),
  annotations,
})

const manifestSchema = z.object({
  schemaVersion: z.literal(2),
  config: descriptorSchema,
  layers: nullable(z.array(descriptorSchema), []),
  annotations,
  artifactType: z.string().nullish(),
})

export type ImageIndex = { kind: 'index'; mediaType: string } & Omit<z.output<typeof indexSchema>, 'schemaVersion'>
export type ImageManifest = { kind: 'manifest'; mediaType: string } & Omit<
  z.output<typeof manifestSchema>,
  'schemaVersion'
>

/** Types that servers give to any JSON document: they say nothing about which. */
const GENERIC_TYPES = new Set(['application/json', 'application/octet-stream', 'text/plain'])
/** Go's JSON reader ignores the case of these, ours does not: a document that plays on it means two things. */
const DECISIVE_KEYS = new Map(
  ['schemaVersion', 'mediaType', 'manifests', 'config', 'layers', 'fsLayers'].map((key) => [key.toLowerCase(), key]),
)

/**
 * An index or a manifest, by one meaning only: what a digest names must not depend on who reads it or how it was asked for.
 *
 * @param bytes the document, its digest checked already
 * @param contentType what the server or the descriptor said it is; parameters such as charset are ignored
 * @throws PurserError invalid_argument for a malformed or ambiguous document or a media type that is neither;
 *   unimplemented for schema 1
 * @see image-spec, manifest.md and image-index.md, "mediaType"; CVE-2021-41190
 */
export function parseManifestDocument(bytes: Uint8Array, contentType?: string): ImageIndex | ImageManifest {
  const declared = declaredType(contentType)
  if (declared !== undefined && isSchema1Type(declared)) throw schema1()
  const what = declared === undefined ? 'manifest' : `document of type ${declared}`
  const document = parseSchema(z.record(z.string(), z.unknown()), parseJson(bytes, what), what)
  for (const key of Object.keys(document)) {
    const canonical = DECISIVE_KEYS.get(key.toLowerCase())
    if (canonical !== undefined && canonical !== key) throw refused(what, `it spells ${canonical} as ${key}`)
  }
  const has = (key: string) => document[key] !== undefined && document[key] !== null
  if (document.schemaVersion === 1 || has('fsLayers')) throw schema1()

  const own = parseSchema(mediaType.nullish(), document.mediaType, `${what} (mediaType)`) ?? undefined
  if (own !== undefined && isSchema1Type(own)) throw schema1()
  if (own !== undefined && declared !== undefined && own !== declared) {
    throw refused(what, `it calls itself ${own} but was delivered as ${declared}`)
  }
  if (has('manifests') && (has('layers') || has('config'))) {
    throw refused(
      what,
      'it has both manifests and layers or config, so that it could be read as an index or as an image',
    )
  }

  const type = declared ?? own ?? (has('manifests') ? MEDIA_TYPES.ociIndex : MEDIA_TYPES.ociManifest)
  if (isIndexType(type)) {
    if (has('layers') || has('config')) throw refused(what, `it is of type ${type} but has an image's layers or config`)
    const { manifests, annotations } = parseSchema(indexSchema, document, what)
    return { kind: 'index', mediaType: type, manifests, annotations }
  }
  if (isManifestType(type)) {
    if (has('manifests')) throw refused(what, `it is of type ${type} but has an index's manifests`)
    const { config, layers, annotations, artifactType } = parseSchema(manifestSchema, document, what)
    return { kind: 'manifest', mediaType: type, config, layers, annotations, ...(artifactType ? { artifactType } : {}) }
  }
  throw new PurserError('invalid_argument', `media type ${JSON.stringify(type)} is neither an image nor an index`, {
    remedy: 'name a container image, not another kind of artifact',
  })
}

function declaredType(contentType: string | undefined): string | undefined {
  const type = contentType?.split(';', 1)[0]?.trim().toLowerCase()
  return type === undefined || type === '' || GENERIC_TYPES.has(type) ? undefined : type
}

function schema1(): PurserError {
  return new PurserError('unimplemented', 'the image has a manifest of schema 1, which is obsolete and not supported', {
    remedy: 'pull it with an old docker and push it again: that gives it a manifest of schema 2',
  })
}
