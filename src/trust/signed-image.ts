import { errorCodeOf, PurserError } from '../model/errors.ts'
import { type Descriptor, type ImageManifest, parseManifestDocument } from '../oci/manifest.ts'
import { MEDIA_TYPES } from '../oci/media-types.ts'
import type { ImageReference } from '../oci/reference.ts'
import { DOCUMENT_BYTES_MAX, type Repository } from '../registry/client.ts'
import { listReferrers } from '../registry/referrers.ts'

/** What a signature is looked for of: an image, in the registry that it came from, with that registry's own credentials. */
export interface SignedImage {
  ref: ImageReference
  /** What the name stands for: an index or a manifest. */
  target: Descriptor
  open(ref: ImageReference): Repository
}

/** Of one image; who stores more wants to be looked at for long. */
const SIGNATURES_MAX = 64
export const SIGNATURE_BYTES_MAX = 1024 * 1024

/** Manifests of one artifact type that refer to an image: to what was resolved, whatever its tag has come to stand for since. */
export async function* referrersOf(
  { ref, target, open }: SignedImage,
  artifactType: string,
  signal: AbortSignal,
): AsyncGenerator<ImageManifest> {
  const { registry, repository } = ref
  const at = open({ registry, repository, digest: target.digest })
  const { referrers } = await listReferrers(at, artifactType, signal)
  const manifests = referrers.filter(({ mediaType }) => mediaType === MEDIA_TYPES.ociManifest)
  for (const descriptor of manifests.slice(0, SIGNATURES_MAX)) {
    const bytes = await at.fetchDocument(descriptor, DOCUMENT_BYTES_MAX, signal)
    const manifest = parseManifestDocument(bytes, descriptor.mediaType)
    if (manifest.kind === 'manifest') yield manifest
  }
}

/** The layers of the manifest that a tag names, where there is one. */
export async function taggedManifest(
  image: SignedImage,
  tag: string,
  signal: AbortSignal,
): Promise<ImageManifest | undefined> {
  const { registry, repository } = image.ref
  try {
    const { bytes } = await image.open({ registry, repository, tag }).resolve(signal, 'wanted')
    const manifest = bytes && parseManifestDocument(bytes)
    return manifest?.kind === 'manifest' ? { ...manifest, layers: manifest.layers.slice(0, SIGNATURES_MAX) } : undefined
  } catch (error) {
    if (errorCodeOf(error) === 'not_found') return undefined
    throw error
  }
}

/** A blob that a signature is made of. */
export async function signatureBlob(
  { ref, open }: SignedImage,
  descriptor: Descriptor,
  signal: AbortSignal,
): Promise<Buffer> {
  if (descriptor.sizeBytes > SIGNATURE_BYTES_MAX) {
    throw new PurserError('resource_exhausted', `signature ${descriptor.digest} has ${descriptor.sizeBytes} bytes`, {
      remedy: `signatures have ${SIGNATURE_BYTES_MAX} bytes at most`,
    })
  }
  return await open(ref).fetchDocument(descriptor, SIGNATURE_BYTES_MAX, signal)
}
