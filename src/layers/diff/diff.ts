import { Worker } from 'node:worker_threads'
import type { Digest } from '../../model/digest.ts'
import { type ErrorBody, PurserError } from '../../model/errors.ts'
import type { Compression } from '../compression.ts'
import type { DiffSource } from './changes.ts'

export interface DiffRequest {
  source: DiffSource
  compression: Compression
}

export interface DiffResult {
  /** Of the compressed layer. */
  digest: Digest
  /** sha256 of the tar. @see image-spec, config.md, "Layer DiffID" */
  diffId: Digest
  sizeBytes: number
  tarBytes: number
}

/** What the thread says: pieces of the compressed layer, each to be taken before the next is made, then the result. */
export type FromDiffThread = { chunk: Uint8Array } | { result: DiffResult } | { error: ErrorBody }

/**
 * Makes a layer of what changed, in a thread of its own: read, tar, hash, compress, hash, as it is written.
 *
 * @param write takes the layer piece by piece, in order
 */
export async function createDiff(
  request: DiffRequest,
  write: (chunk: Uint8Array) => Promise<void>,
  signal: AbortSignal,
): Promise<DiffResult> {
  signal.throwIfAborted()
  const thread = new Worker(new URL('./diff-thread.ts', import.meta.url), { workerData: request })
  const { promise, resolve, reject } = Promise.withResolvers<DiffResult>()
  let writing: Promise<void> = Promise.resolve()
  const onAbort = () => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  thread.on('error', reject)
  thread.on('exit', () => reject(new PurserError('internal', 'the thread that makes the layer has ended')))
  thread.on('message', (message: FromDiffThread) => {
    if ('result' in message) resolve(message.result)
    else if ('error' in message) reject(PurserError.fromBody(message.error))
    else writing = write(message.chunk).then(() => thread.postMessage('taken'), reject)
  })
  try {
    return await promise
  } finally {
    signal.removeEventListener('abort', onAbort)
    await thread.terminate()
    await writing
  }
}
