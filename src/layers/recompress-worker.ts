import { createHash, type Hash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { PassThrough, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { constants, createGunzip, createZstdCompress, createZstdDecompress } from 'node:zlib'
import { toPurserError } from '../model/errors.ts'
import { detectCompression, MAGIC_BYTES, notDecodable } from './compression.ts'
import type { FromRecompressor, Recompressed, RecompressJob } from './recompress.ts'

const DECODERS = { gzip: createGunzip, zstd: createZstdDecompress, none: () => new PassThrough() }
const PIECE_BYTES = 256 * 1024

async function run({ from, to, level }: RecompressJob): Promise<Recompressed> {
  const compression = detectCompression(await beginOf(from))
  const [tar, packed] = [createHash('sha256'), createHash('sha256')]
  let sizeBytes = 0
  const encoder = createZstdCompress({
    chunkSize: PIECE_BYTES,
    params: { [constants.ZSTD_c_compressionLevel]: level, [constants.ZSTD_c_checksumFlag]: 1 },
  })
  const count = (bytes: number) => {
    sizeBytes += bytes
  }
  try {
    await pipeline(
      createReadStream(from, { highWaterMark: PIECE_BYTES }),
      DECODERS[compression](),
      hashing(tar),
      encoder,
      hashing(packed, count),
      createWriteStream(to, { flags: 'r+' }),
    )
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    throw /^(?:Z_|ZSTD_|ERR_ZSTD)/.test(code) ? notDecodable(compression, code) : error
  }
  return { digest: `sha256:${packed.digest('hex')}`, sizeBytes, diffId: `sha256:${tar.digest('hex')}` }
}

function hashing(hash: Hash, count: (bytes: number) => void = () => {}): Transform {
  return new Transform({
    transform(piece: Buffer, _encoding, done) {
      hash.update(piece)
      count(piece.length)
      done(null, piece)
    },
  })
}

async function beginOf(path: string): Promise<Buffer> {
  await using file = await open(path)
  const buffer = Buffer.alloc(MAGIC_BYTES)
  const { bytesRead } = await file.read(buffer, 0, MAGIC_BYTES, 0)
  return buffer.subarray(0, bytesRead)
}

const answer: FromRecompressor = await run(workerData).then(
  (result) => ({ result }),
  (error: unknown) => ({ error: toPurserError(error).toBody() }),
)
parentPort?.postMessage(answer)
