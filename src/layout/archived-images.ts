import { z } from 'zod'
import { PurserError } from '../model/errors.ts'
import { parseJson, parseSchema } from '../oci/json.ts'
import { type Descriptor, parseManifestDocument } from '../oci/manifest.ts'
import { MEDIA_TYPES } from '../oci/media-types.ts'
import { formatReference, parseReference } from '../oci/reference.ts'
import type { TarFile } from './tar-file.ts'

/** An image in an archive, under one of its names. */
export interface ArchivedImage {
  /** Canonical; undefined where the archive gives none. */
  name: string | undefined
  source: LayoutSource | DockerSource
}

/** In an OCI layout, documents are there by their digests. */
export interface LayoutSource {
  kind: 'oci'
  target: Descriptor
}

/** In an archive of `docker save` before version 25, there is no manifest: only files. */
export interface DockerSource {
  kind: 'docker'
  config: string
  layers: readonly string[]
}

const INDEX_BYTES_MAX = 8 * 1024 * 1024
const IMAGES_MAX = 1000
const NAME_ANNOTATION = 'io.containerd.image.name'
const REF_ANNOTATION = 'org.opencontainers.image.ref.name'

const dockerManifest = z
  .array(
    z.object({
      Config: z.string().min(1),
      RepoTags: z.array(z.string()).nullish(),
      Layers: z.array(z.string().min(1)).max(1000),
    }),
  )
  .max(IMAGES_MAX)

/**
 * What an archive holds: an OCI layout, or what docker saves; one that is both, as docker writes it since version 25, is read
 * as a layout.
 *
 * @param baseName repository of images that are given by a tag alone
 * @throws PurserError invalid_argument when it is neither
 * @see image-spec, image-layout.md; moby, image/spec/spec.md, "Combined Image JSON + Filesystem Changeset Format"
 */
export async function archivedImages(archive: TarFile, baseName = 'loaded'): Promise<ArchivedImage[]> {
  if (archive.has('index.json')) return await layoutImages(archive, baseName)
  if (archive.has('manifest.json')) return await dockerImages(archive)
  throw new PurserError(
    'invalid_argument',
    'the archive has neither index.json nor manifest.json: it holds no images',
    {
      remedy: 'give it what purser save, docker save or skopeo copy … oci-archive: have written',
    },
  )
}

async function layoutImages(archive: TarFile, baseName: string): Promise<ArchivedImage[]> {
  const bytes = await archive.read('index.json', INDEX_BYTES_MAX)
  const index = parseManifestDocument(bytes, MEDIA_TYPES.ociIndex)
  if (index.kind !== 'index') throw new PurserError('invalid_argument', 'index.json of the archive is no image index')
  return index.manifests.slice(0, IMAGES_MAX).map((target) => {
    const { [NAME_ANNOTATION]: full, [REF_ANNOTATION]: ref } = target.annotations
    return { name: layoutName(full, ref, baseName), source: { kind: 'oci', target } }
  })
}

/** @see containerd, images/archive/reference.go: an annotation is a whole name, or a tag alone */
function layoutName(full: string | undefined, ref: string | undefined, baseName: string): string | undefined {
  if (full !== undefined) return canonical(full)
  if (ref === undefined) return undefined
  return canonical(/[:/]/.test(ref) ? ref : `${baseName}:${ref}`)
}

async function dockerImages(archive: TarFile): Promise<ArchivedImage[]> {
  const what = 'manifest.json of the archive'
  const bytes = await archive.read('manifest.json', INDEX_BYTES_MAX)
  return parseSchema(dockerManifest, parseJson(bytes, what), what).flatMap(({ Config, RepoTags, Layers }) => {
    const source: DockerSource = { kind: 'docker', config: Config, layers: Layers }
    const names = RepoTags?.length ? RepoTags.map(canonical) : [undefined]
    return names.map((name) => ({ name, source }))
  })
}

const canonical = (name: string): string => formatReference(parseReference(name))
