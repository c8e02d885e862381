import { createHash } from 'node:crypto'
import { PassThrough, Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { createGzip, createZstdCompress } from 'node:zlib'
import { toPurserError } from '../../model/errors.ts'
import { changesOf } from './changes.ts'
import type { DiffRequest, DiffResult, FromDiffThread } from './diff.ts'
import { layerTar } from './layer-tar.ts'

const CHUNK_BYTES = 256 * 1024

const say = (message: FromDiffThread): void => parentPort?.postMessage(message)
const taken = (): Promise<void> => new Promise((resolve) => parentPort?.once('message', () => resolve()))

async function run({ source, compression }: DiffRequest): Promise<DiffResult> {
  const [diffHash, hash] = [createHash('sha256'), createHash('sha256')]
  let [tarBytes, sizeBytes] = [0, 0]
  const compressed = {
    none: () => new PassThrough(),
    gzip: () => createGzip({ chunkSize: CHUNK_BYTES }),
    zstd: () => createZstdCompress({ chunkSize: CHUNK_BYTES }),
  }[compression]()
  const root = source.from === 'comparison' ? source.upper : source.path
  const tar = function* () {
    for (const piece of layerTar(root, changesOf(source))) {
      diffHash.update(piece)
      tarBytes += piece.length
      yield piece
    }
  }
  await pipeline(Readable.from(tar(), { objectMode: false }), compressed, async (output: AsyncIterable<Buffer>) => {
    for await (const chunk of output) {
      hash.update(chunk)
      sizeBytes += chunk.length
      const isTaken = taken()
      say({ chunk: new Uint8Array(chunk) })
      await isTaken
    }
  })
  return { digest: `sha256:${hash.digest('hex')}`, diffId: `sha256:${diffHash.digest('hex')}`, sizeBytes, tarBytes }
}

try {
  say({ result: await run(workerData) })
} catch (error) {
  say({ error: toPurserError(error).toBody() })
}
