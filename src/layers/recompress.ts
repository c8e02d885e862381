import { Worker } from 'node:worker_threads'
import type { Digest } from '../model/digest.ts'
import { type ErrorBody, PurserError } from '../model/errors.ts'

/** What a thread is told. */
export interface RecompressJob {
  from: string
  to: string
  level: number
}

export interface Recompressed {
  /** Of the file that was made. */
  digest: Digest
  sizeBytes: number
  /** Of the tar that went through. */
  diffId: Digest
}

export type FromRecompressor = { result: Recompressed } | { error: ErrorBody }

/**
 * Compresses a layer with zstd, in a thread of its own.
 *
 * @throws PurserError data_loss when it cannot be decompressed; the signal's reason
 */
export async function recompress(job: RecompressJob, signal: AbortSignal): Promise<Recompressed> {
  signal.throwIfAborted()
  const { promise, resolve, reject } = Promise.withResolvers<FromRecompressor>()
  const thread = new Worker(new URL('./recompress-worker.ts', import.meta.url), { workerData: job })
  const onAbort = () => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  const died = (cause: unknown) =>
    reject(new PurserError('internal', 'the thread that compresses a layer has ended', { cause }))
  thread.on('message', resolve).on('error', died).on('exit', died)
  try {
    const answer = await promise
    if ('result' in answer) return answer.result
    throw PurserError.fromBody(answer.error)
  } finally {
    signal.removeEventListener('abort', onAbort)
    await thread.terminate()
  }
}
