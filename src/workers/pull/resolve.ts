import type { ContentStore } from '../../content/store.ts'
import type { Digest } from '../../model/digest.ts'
import { PurserError } from '../../model/errors.ts'
import { type ImageConfig, parseImageConfig } from '../../oci/image-config.ts'
import { type Descriptor, type ImageManifest, parseManifestDocument } from '../../oci/manifest.ts'
import { isImageConfigType, layerFormat } from '../../oci/media-types.ts'
import { formatPlatform, type Platform, selectManifest } from '../../oci/platform.ts'
import { DOCUMENT_BYTES_MAX, type Repository } from '../../registry/client.ts'

export interface ResolvedPull {
  target: Descriptor
  manifest: { descriptor: Descriptor; document: ImageManifest }
  config: { descriptor: Descriptor; document: ImageConfig }
  fetchedBytes: number
}

const INDEX_DEPTH_MAX = 4

interface Resolving {
  repository: Repository
  content: ContentStore
  hold: (digest: Digest) => void
  foreignLayers: ForeignPolicy
}

/**
 * From a name to the documents of one platform's image; all of them in the content store, their digests checked.
 *
 * @param hold keeps a document, or one to come, from collection
 * @param documents is given those that are stored, also when it throws: they are to be recorded
 */
export async function resolveImage(
  { repository, content, hold, foreignLayers }: Resolving,
  platform: Platform,
  signal: AbortSignal,
  documents: Descriptor[] = [],
): Promise<ResolvedPull> {
  let fetchedBytes = 0
  const { descriptor: target } = await repository.resolve(signal)
  const load = async (descriptor: Descriptor): Promise<Buffer> => {
    hold(descriptor.digest)
    const stored = await content.stat(descriptor.digest)
    if (stored) {
      documents.push(descriptor)
      return await content.read(descriptor.digest, { maxBytes: DOCUMENT_BYTES_MAX })
    }
    const bytes = await repository.fetchDocument(descriptor, DOCUMENT_BYTES_MAX, signal)
    await content.writeDocument(bytes, descriptor.digest)
    documents.push(descriptor)
    fetchedBytes += bytes.length
    return bytes
  }
  let at: Descriptor = target
  for (let depth = 0; depth < INDEX_DEPTH_MAX; depth++) {
    const document = parseManifestDocument(await load(at), at.mediaType)
    if (document.kind === 'index') {
      at = selectManifest(document.manifests, platform)
      continue
    }
    const config = parseConfig(document.config, await load(document.config))
    checkLayers(document, config, foreignLayers)
    const manifest = { descriptor: at, document }
    return { target, manifest, config: { descriptor: document.config, document: config }, fetchedBytes }
  }
  throw new PurserError('invalid_argument', `the index ${target.digest} is nested more than ${INDEX_DEPTH_MAX} deep`)
}

export function parseConfig(descriptor: Descriptor, bytes: Buffer): ImageConfig {
  if (isImageConfigType(descriptor.mediaType)) return parseImageConfig(bytes)
  throw new PurserError(
    'invalid_argument',
    `${descriptor.mediaType} is the configuration of an artifact, not of an image`,
    {
      remedy: 'name an image',
    },
  )
}

/** What becomes of layers that registries may not distribute: fetched from where their descriptors say, or refused. */
export type ForeignPolicy = 'fetch' | 'refuse'

export function checkLayers(manifest: ImageManifest, config: ImageConfig, foreignLayers: ForeignPolicy): void {
  for (const { mediaType, digest } of manifest.layers) {
    if (layerFormat(mediaType).foreign && foreignLayers === 'refuse') {
      throw new PurserError('permission_denied', `layer ${digest} is not distributable (${mediaType})`, {
        remedy: 'use an image whose layers the registry has, or set pull.foreignLayers to fetch in the configuration',
      })
    }
  }
  if (manifest.layers.length === config.diffIds.length && manifest.layers.length > 0) return
  throw new PurserError(
    'invalid_argument',
    `the manifest has ${manifest.layers.length} layers, the configuration ${config.diffIds.length} (${formatPlatform(config.platform)})`,
    { remedy: 'have the image built again' },
  )
}
