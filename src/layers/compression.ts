import { PurserError } from '../model/errors.ts'

export type Compression = 'none' | 'gzip' | 'zstd'

/** Bytes that `detectCompression` wants to see, unless the file is shorter. */
export const MAGIC_BYTES = 6

const MAGICS: readonly { name: string; bytes: readonly number[]; compression?: Compression }[] = [
  { name: 'gzip', bytes: [0x1f, 0x8b], compression: 'gzip' },
  { name: 'zstd', bytes: [0x28, 0xb5, 0x2f, 0xfd], compression: 'zstd' },
  { name: 'bzip2', bytes: [0x42, 0x5a, 0x68] },
  { name: 'xz', bytes: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00] },
]

/**
 * How a layer is compressed, by its first bytes: what they decode to is checked by the diff ID, so the media type
 * need not be believed. A zstd file may begin with a skippable frame (0x184D2A50 to 0x184D2A5F).
 *
 * @throws PurserError unimplemented for bzip2 and xz
 * @see RFC 1952 section 2.3.1; RFC 8878 section 3.1
 */
export function detectCompression(start: Buffer): Compression {
  const isSkippable =
    start.length >= 4 &&
    ((start[0] ?? 0) & 0xf0) === 0x50 &&
    start[1] === 0x2a &&
    start[2] === 0x4d &&
    start[3] === 0x18
  if (isSkippable) return 'zstd'
  const found = MAGICS.find(({ bytes }) => bytes.every((byte, at) => start[at] === byte))
  if (!found) return 'none'
  if (found.compression) return found.compression
  throw new PurserError('unimplemented', `layers compressed with ${found.name} are not supported`, {
    remedy: 'rebuild the image with gzip or zstd layers',
  })
}

/** Decodes synchronously, piece by piece. Pieces of output are valid during the call to `output` only. */
export interface Decoder extends Disposable {
  write(input: Buffer): void
  /** @throws PurserError data_loss when the stream is cut off */
  end(): void
}

export function notDecodable(compression: Compression, reason: string): PurserError {
  return new PurserError('data_loss', `the layer is not valid ${compression}: ${reason}`, {
    remedy: 'pull the image again',
  })
}
