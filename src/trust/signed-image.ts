import { splitDigest } from '../model/digest.ts'
import { errorCodeOf, PurserError } from '../model/errors.ts'
import { type Descriptor, type ImageManifest, parseManifestDocument } from '../oci/manifest.ts'
import { MEDIA_TYPES } from '../oci/media-types.ts'
import type { ImageReference } from '../oci/reference.ts'
import { readBody } from '../registry/bodies.ts'
import { DOCUMENT_BYTES_MAX, type Repository } from '../registry/client.ts'

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

/** Manifests of one artifact type that refer to an image: by the registry's own list, or by the tag that stands in for it. */
export async function* referrersOf(
  image: SignedImage,
  artifactType: string,
  signal: AbortSignal,
): AsyncGenerator<ImageManifest> {
  const { ref, target, open } = image
  const repository = open(ref)
  const { algorithm, hex } = splitDigest(target.digest)
  const listed = await repository.send(
    'pull',
    {
      path: `referrers/${target.digest}`,
      method: 'GET',
      query: { artifactType },
      headers: { accept: MEDIA_TYPES.ociIndex },
    },
    signal,
  )
  const bytes = listed.status === 200 ? await readBody(listed, DOCUMENT_BYTES_MAX, signal) : undefined
  if (bytes === undefined) listed.drop()
  // distribution-spec, "Referrers Tag Schema"
  const index = bytes ?? (await taggedDocument(image, `${algorithm}-${hex}`, signal))
  if (index === undefined) return
  const document = parseManifestDocument(index, MEDIA_TYPES.ociIndex)
  if (document.kind !== 'index') return
  let seen = 0
  for (const descriptor of document.manifests) {
    if (descriptor.artifactType !== artifactType || descriptor.mediaType !== MEDIA_TYPES.ociManifest) continue
    if (++seen > SIGNATURES_MAX) return
    const manifest = parseManifestDocument(
      await repository.fetchDocument(descriptor, DOCUMENT_BYTES_MAX, signal),
      descriptor.mediaType,
    )
    if (manifest.kind === 'manifest') yield manifest
  }
}

/** The layers of the manifest that a tag names, where there is one. */
export async function taggedManifest(
  image: SignedImage,
  tag: string,
  signal: AbortSignal,
): Promise<ImageManifest | undefined> {
  const bytes = await taggedDocument(image, tag, signal)
  const manifest = bytes && parseManifestDocument(bytes)
  return manifest?.kind === 'manifest' ? { ...manifest, layers: manifest.layers.slice(0, SIGNATURES_MAX) } : undefined
}

async function taggedDocument(
  { ref, open }: SignedImage,
  tag: string,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  const { registry, repository } = ref
  try {
    const { bytes } = await open({ registry, repository, tag }).resolve(signal, 'wanted')
    return bytes
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
