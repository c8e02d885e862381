import type { ContentStore } from '../../content/store.ts'
import { type Digest, digestOf } from '../../model/digest.ts'
import { PurserError } from '../../model/errors.ts'
import { parseImageConfig } from '../../oci/image-config.ts'
import { parseJson } from '../../oci/json.ts'
import { type Descriptor, type ImageManifest, parseManifestDocument } from '../../oci/manifest.ts'
import { isImageConfigType } from '../../oci/media-types.ts'
import { compatiblePlatforms, formatPlatform, hostPlatform, type Platform } from '../../oci/platform.ts'
import { DOCUMENT_BYTES_MAX } from '../../registry/client.ts'

/** A manifest or an index of which all is here. */
export interface Present {
  descriptor: Descriptor
  bytes: Buffer
  /** Of an index: what it lists. */
  children: readonly Present[]
  /** Of a manifest: configuration and layers. */
  manifest?: ImageManifest
  /** os/arch[/variant] of a manifest of an image. */
  platform?: string
}

const INDEX_DEPTH_MAX = 4

/**
 * What of an image is in the content store. An index that lists what is not here is made to list only what is, or is replaced
 * by the one manifest that is left: what names blobs must not name absent ones.
 *
 * @param platform leaves only the manifests of this one
 * @throws PurserError not_found when nothing is left
 */
export async function presentOf(content: ContentStore, target: Descriptor, platform?: Platform): Promise<Present> {
  const found = await find(content, target, 0)
  const wanted = found && platform ? only(found, platform) : found
  if (wanted) return wanted
  const what = platform ? `${target.digest} for ${formatPlatform(platform)}` : `all of ${target.digest}`
  throw new PurserError('not_found', `${what} is not in the content store`, {
    remedy: platform
      ? `purser pull --platform ${formatPlatform(platform)} brings it`
      : 'pull the image again, with --keep-layers where layers are discarded',
  })
}

async function find(content: ContentStore, descriptor: Descriptor, depth: number): Promise<Present | undefined> {
  if (!(await content.stat(descriptor.digest)) || depth >= INDEX_DEPTH_MAX) return undefined
  const bytes = await content.read(descriptor.digest, { maxBytes: DOCUMENT_BYTES_MAX })
  const document = parseManifestDocument(bytes, descriptor.mediaType)
  if (document.kind === 'index') {
    const children: (Present | undefined)[] = []
    for (const child of document.manifests) {
      const found = await find(content, child, depth + 1)
      // One that had to be made smaller has another digest than the one listed: it is left out.
      children.push(found?.descriptor.digest === child.digest ? found : undefined)
    }
    return reduced({ descriptor, bytes }, children)
  }
  for (const each of [document.config, ...document.layers]) if (!(await content.stat(each.digest))) return undefined
  const platform = await platformOf(content, document)
  return { descriptor, bytes, children: [], manifest: document, ...(platform === undefined ? {} : { platform }) }
}

async function platformOf(content: ContentStore, { config }: ImageManifest): Promise<string | undefined> {
  if (!isImageConfigType(config.mediaType)) return undefined
  const bytes = await content.read(config.digest, { maxBytes: DOCUMENT_BYTES_MAX })
  return formatPlatform(parseImageConfig(bytes).platform)
}

/** An index with those of its children that are here; itself when those are all. */
function reduced(
  { descriptor, bytes }: Pick<Present, 'descriptor' | 'bytes'>,
  children: readonly (Present | undefined)[],
): Present | undefined {
  const here = children.filter((child) => child !== undefined)
  if (here.length === children.length) return { descriptor, bytes, children: here }
  const images = here.filter(({ platform, children: below }) => platform !== undefined || below.length > 0)
  if (images.length <= 1) return images[0]
  // The rest of the document stays as it was written.
  const document = parseJson(bytes, 'index')
  if (typeof document !== 'object' || document === null || !('manifests' in document)) return undefined
  const written: unknown[] = Array.isArray(document.manifests) ? document.manifests : []
  const manifests = written.filter((_, index) => children[index] !== undefined)
  const smaller = Buffer.from(JSON.stringify({ ...document, manifests }))
  return {
    descriptor: { mediaType: descriptor.mediaType, digest: digestOf(smaller), sizeBytes: smaller.length },
    bytes: smaller,
    children: here,
  }
}

/** The manifest that suits a platform best. */
function only(present: Present, wanted: Platform): Present | undefined {
  const all = [...manifestsOf(present)]
  for (const each of compatiblePlatforms(wanted)) {
    const found = all.find(({ platform }) => platform === formatPlatform(each))
    if (found) return found
  }
  return undefined
}

/** Manifests below, and itself when it is one. */
export function* manifestsOf(present: Present): Iterable<Present> {
  if (present.manifest) yield present
  for (const child of present.children) yield* manifestsOf(child)
}

/** Documents, those that others name first: the order in which a registry takes them. */
export function* documentsOf(present: Present): Iterable<Present> {
  for (const child of present.children) yield* documentsOf(child)
  yield present
}

/** Every blob that its manifests name, each once. */
export function blobsOf(present: Present): Descriptor[] {
  const blobs = new Map<Digest, Descriptor>()
  for (const { manifest } of manifestsOf(present)) {
    for (const each of manifest ? [manifest.config, ...manifest.layers] : []) blobs.set(each.digest, each)
  }
  return [...blobs.values()]
}

/** The manifest for this host, or else the first image there is. */
export function usualManifest(present: Present): Present | undefined {
  return only(present, hostPlatform()) ?? [...manifestsOf(present)].find(({ platform }) => platform !== undefined)
}
