import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { type Compression, type Decoder, notDecodable } from './compression.ts'

const PIECE_BYTES = 256 * 1024

/**
 * Decodes by Node's public API, which has no synchronous streaming: the whole layer is in memory twice. It is only
 * used by a Node without the internal that inflate.ts prefers.
 */
export function wholeDecoder(compression: Exclude<Compression, 'none'>, output: (piece: Buffer) => void): Decoder {
  const pieces: Buffer[] = []
  return {
    write(input) {
      pieces.push(Buffer.from(input))
    },
    end() {
      const bytes = Buffer.concat(pieces)
      let decoded: Buffer
      try {
        decoded = compression === 'gzip' ? gunzipSync(bytes) : zstdDecompressSync(bytes)
      } catch (error) {
        throw notDecodable(compression, error instanceof Error ? error.message : String(error))
      }
      for (let at = 0; at < decoded.length; at += PIECE_BYTES) output(decoded.subarray(at, at + PIECE_BYTES))
    },
    [Symbol.dispose]() {
      pieces.length = 0
    },
  }
}
