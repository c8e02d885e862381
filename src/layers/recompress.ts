import type { Digest } from '../model/digest.ts'
import { PurserError } from '../model/errors.ts'
import { type FromThread, inThread } from './in-thread.ts'

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

export type FromRecompressor = FromThread<Recompressed>

/**
 * Compresses a layer with zstd, in a thread of its own.
 *
 * @throws PurserError data_loss when it cannot be decompressed; the signal's reason
 */
export const recompress = (job: RecompressJob, signal: AbortSignal): Promise<Recompressed> =>
  inThread(new URL('./recompress-worker.ts', import.meta.url), { job, died }, signal)

const died = (cause: unknown): PurserError =>
  new PurserError('internal', 'the thread that compresses a layer has ended', { cause })
