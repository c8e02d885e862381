import { layerFormat } from '../oci/media-types.ts'

/** What a compressed layer is taken to unpack to, until it shows. */
const UNPACKED_RATIO = 2

/**
 * What snapshots of the layers of an image will take of the disk, as far as can be known before.
 *
 * @param snapshotter its name: `native` copies what lies below
 * @param layers lowest first
 * @returns bytes of each
 */
export function unpackedBytes(
  snapshotter: string,
  layers: readonly { mediaType: string; sizeBytes: number }[],
): number[] {
  let belowBytes = 0
  return layers.map(({ mediaType, sizeBytes }) => {
    const ownBytes = sizeBytes * (layerFormat(mediaType).compression === 'none' ? 1 : UNPACKED_RATIO)
    const bytes = ownBytes + (snapshotter === 'native' ? belowBytes : 0)
    belowBytes += ownBytes
    return bytes
  })
}
