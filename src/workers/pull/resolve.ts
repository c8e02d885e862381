import type { ContentStore } from '../../content/store.ts'
import type { Digest } from '../../model/digest.ts'
import { PurserError } from '../../model/errors.ts'
import { type ImageConfig, parseImageConfig } from '../../oci/image-config.ts'
import { type Descriptor, type ImageIndex, type ImageManifest, parseManifestDocument } from '../../oci/manifest.ts'
import { isImageConfigType, isIndexType, isManifestType, layerFormat } from '../../oci/media-types.ts'
import {
  compatiblePlatforms,
  formatPlatform,
  normalisePlatform,
  noSuchPlatform,
  type Platform,
  samePlatform,
  suitableManifests,
} from '../../oci/platform.ts'
import { DOCUMENT_BYTES_MAX, type Repository } from '../../registry/client.ts'

export interface ResolvedPull {
  target: Descriptor
  manifest: { descriptor: Descriptor; document: ImageManifest }
  config: { descriptor: Descriptor; document: ImageConfig }
  fetchedBytes: number
}

export interface ResolveParts {
  repository: Repository
  content: ContentStore
  /** Keeps a document, or one to come, from collection. */
  hold: (digest: Digest) => void
  foreignLayers: ForeignPolicy
}

/** Of one image: an index of a hundred platforms, each with its manifest and configuration, and as many again. */
const DOCUMENTS_MAX = 500

/**
 * From a name to the documents of one platform's image; all of them in the content store, their digests checked.
 *
 * @param documents is given those that are stored, also when it throws: they are to be recorded
 */
export function resolveImage(
  parts: ResolveParts,
  platform: Platform,
  signal: AbortSignal,
  documents: Descriptor[] = [],
): Promise<ResolvedPull> {
  return new Resolution(parts, signal, documents).resolve(platform)
}

/**
 * Everything else that an index lists, of whichever platform and kind: its documents are brought into the content store.
 *
 * @returns blobs that belong to it, and may not be there
 */
export function resolveOthers(
  parts: ResolveParts,
  { target, manifest }: ResolvedPull,
  signal: AbortSignal,
  documents: Descriptor[],
): Promise<{ blobs: Descriptor[]; fetchedBytes: number }> {
  return new Resolution(parts, signal, documents).others(target, manifest.descriptor)
}

type Found = Pick<ResolvedPull, 'manifest' | 'config'>

class Resolution {
  readonly #parts: ResolveParts
  readonly #signal: AbortSignal
  readonly #documents: Descriptor[]
  /** What was looked into, so that what is listed twice, or lists itself, is not again. */
  readonly #seen = new Set<Digest>()
  #fetchedBytes = 0

  constructor(parts: ResolveParts, signal: AbortSignal, documents: Descriptor[]) {
    this.#parts = parts
    this.#signal = signal
    this.#documents = documents
  }

  async resolve(platform: Platform): Promise<ResolvedPull> {
    const { descriptor: target } = await this.#parts.repository.resolve(this.#signal)
    const document = parseManifestDocument(await this.#load(target), target.mediaType)
    const found =
      document.kind === 'index'
        ? await this.#within(document, platform)
        : await this.#image({ descriptor: target, document })
    if (found) return { target, ...found, fetchedBytes: this.#fetchedBytes }
    throw noSuchPlatform(document.kind === 'index' ? document.manifests : [], platform)
  }

  async others(target: Descriptor, chosen: Descriptor): Promise<{ blobs: Descriptor[]; fetchedBytes: number }> {
    const blobs = new Map<Digest, Descriptor>()
    const visit = async (descriptor: Descriptor): Promise<void> => {
      const { digest, mediaType } = descriptor
      if (digest === chosen.digest || this.#seen.has(digest)) return
      this.#seen.add(digest)
      if (!isIndexType(mediaType) && !isManifestType(mediaType)) return void blobs.set(digest, descriptor)
      const document = parseManifestDocument(await this.#load(descriptor), mediaType)
      if (document.kind === 'index') for (const each of document.manifests) await visit(each)
      else {
        if (isImageConfigType(document.config.mediaType)) checkForeign(document, this.#parts.foreignLayers)
        for (const each of [document.config, ...document.layers]) blobs.set(each.digest, each)
      }
    }
    await visit(target)
    return { blobs: [...blobs.values()], fetchedBytes: this.#fetchedBytes }
  }

  /** The best image of an index, or of one that it lists, as deep as that may be. */
  async #within(index: ImageIndex, platform: Platform): Promise<Found | undefined> {
    for (const descriptor of suitableManifests(index.manifests, platform)) {
      if (this.#seen.has(descriptor.digest)) continue
      this.#seen.add(descriptor.digest)
      const document = parseManifestDocument(await this.#load(descriptor), descriptor.mediaType)
      const found =
        document.kind === 'index'
          ? await this.#within(document, platform)
          : await this.#image({ descriptor, document }, descriptor.platform ? undefined : platform)
      if (found) return found
    }
  }

  /** @param wanted for one whose platform only its configuration tells: undefined is returned when it is another */
  async #image(manifest: ResolvedPull['manifest'], wanted?: Platform): Promise<Found | undefined> {
    const { config: descriptor } = manifest.document
    if (wanted && !isImageConfigType(descriptor.mediaType)) return undefined
    const document = parseConfig(descriptor, await this.#load(descriptor))
    const own = normalisePlatform(document.platform)
    if (wanted && !compatiblePlatforms(wanted).some((each) => samePlatform(own, each))) return undefined
    checkLayers(manifest.document, document, this.#parts.foreignLayers)
    return { manifest, config: { descriptor, document } }
  }

  async #load(descriptor: Descriptor): Promise<Buffer> {
    const { repository, content, hold } = this.#parts
    const { digest } = descriptor
    if (this.#documents.length >= DOCUMENTS_MAX) {
      throw new PurserError(
        'invalid_argument',
        `${repository.ref.repository} has more than ${DOCUMENTS_MAX} documents`,
        {
          remedy: 'use an image with a smaller index, or one that is not nested so deep',
        },
      )
    }
    hold(digest)
    if (await content.stat(digest)) {
      this.#documents.push(descriptor)
      return await content.read(digest, { maxBytes: DOCUMENT_BYTES_MAX })
    }
    const bytes = await repository.fetchDocument(descriptor, DOCUMENT_BYTES_MAX, this.#signal)
    await content.writeDocument(bytes, digest)
    this.#documents.push(descriptor)
    this.#fetchedBytes += bytes.length
    return bytes
  }
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
  checkForeign(manifest, foreignLayers)
  if (manifest.layers.length === config.diffIds.length && manifest.layers.length > 0) return
  throw new PurserError(
    'invalid_argument',
    `the manifest has ${manifest.layers.length} layers, the configuration ${config.diffIds.length} (${formatPlatform(config.platform)})`,
    { remedy: 'have the image built again' },
  )
}

function checkForeign({ layers }: ImageManifest, foreignLayers: ForeignPolicy): void {
  for (const { mediaType, digest } of layers) {
    if (layerFormat(mediaType).foreign && foreignLayers === 'refuse') {
      throw new PurserError('permission_denied', `layer ${digest} is not distributable (${mediaType})`, {
        remedy: 'use an image whose layers the registry has, or set pull.foreignLayers to fetch in the configuration',
      })
    }
  }
}
