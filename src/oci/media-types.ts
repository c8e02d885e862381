import { PurserError } from '../model/errors.ts'

/** @see image-spec, media-types.md; distribution, docs/spec/manifest-v2-2.md */
export const MEDIA_TYPES = {
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerSchema1: 'application/vnd.docker.distribution.manifest.v1+json',
  dockerSchema1Signed: 'application/vnd.docker.distribution.manifest.v1+prettyjws',
} as const

/** What a request for a manifest accepts, best first. */
export const MANIFEST_ACCEPT: readonly string[] = [
  MEDIA_TYPES.ociIndex,
  MEDIA_TYPES.ociManifest,
  MEDIA_TYPES.dockerList,
  MEDIA_TYPES.dockerManifest,
]

const INDEX_TYPES: ReadonlySet<string> = new Set([MEDIA_TYPES.ociIndex, MEDIA_TYPES.dockerList])
const MANIFEST_TYPES: ReadonlySet<string> = new Set([MEDIA_TYPES.ociManifest, MEDIA_TYPES.dockerManifest])
const CONFIG_TYPES: ReadonlySet<string> = new Set([MEDIA_TYPES.ociConfig, MEDIA_TYPES.dockerConfig])
const SCHEMA1_TYPES: ReadonlySet<string> = new Set([MEDIA_TYPES.dockerSchema1, MEDIA_TYPES.dockerSchema1Signed])

export const isIndexType = (mediaType: string): boolean => INDEX_TYPES.has(mediaType)
export const isManifestType = (mediaType: string): boolean => MANIFEST_TYPES.has(mediaType)
export const isImageConfigType = (mediaType: string): boolean => CONFIG_TYPES.has(mediaType)
export const isSchema1Type = (mediaType: string): boolean => SCHEMA1_TYPES.has(mediaType)

export type Compression = 'gzip' | 'zstd' | 'none'

export interface LayerFormat {
  compression: Compression
  /** Foreign, in OCI's words non-distributable: registries need not hold the blob, and it may be had only from its `urls`. */
  foreign: boolean
}

const LAYER =
  /^application\/vnd\.(?:oci\.image\.layer\.(?<oci>nondistributable\.)?v1\.tar(?:\+(?<suffix>gzip|zstd))?|docker\.image\.rootfs\.(?<docker>foreign\.)?diff\.tar(?:\.(?<ending>gzip|zstd))?)$/

/** Whether registries may not distribute it; false also for what is no layer. */
export function isForeignLayer(mediaType: string): boolean {
  const { oci, docker } = LAYER.exec(mediaType)?.groups ?? {}
  return (oci ?? docker) !== undefined
}

/**
 * How a layer's blob is packed.
 *
 * @throws PurserError unimplemented, naming the media type, when it is no layer that can be unpacked
 */
export function layerFormat(mediaType: string): LayerFormat {
  const groups = LAYER.exec(mediaType)?.groups
  if (!groups) {
    throw new PurserError('unimplemented', `a layer of media type ${JSON.stringify(mediaType)} cannot be unpacked`, {
      remedy: 'use an image whose layers are tar, tar+gzip or tar+zstd, not encrypted',
    })
  }
  const packed = groups.suffix ?? groups.ending
  return {
    compression: packed === 'gzip' || packed === 'zstd' ? packed : 'none',
    foreign: (groups.oci ?? groups.docker) !== undefined,
  }
}
