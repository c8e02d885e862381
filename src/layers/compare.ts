import { Worker } from 'node:worker_threads'
import { type ErrorBody, PurserError } from '../model/errors.ts'

/** What a thread is told: layers of two images, bottom first; those that both begin with stand once. */
export interface CompareJob {
  common: readonly string[]
  one: readonly string[]
  other: readonly string[]
  /** Differences that are told, at most. */
  filesMax: number
}

export interface FileDifference {
  path: string
  /** From the one to the other. */
  change: 'added' | 'removed' | 'changed'
  /** Of a changed one: what is not the same. */
  what?: string[]
}

export interface Comparison {
  files: FileDifference[]
  /** Of all differences, told or not. */
  count: number
}

export type FromComparer = { result: Comparison } | { error: ErrorBody }

/** Compares what the layers of two images amount to, in a thread of its own. Times of files are not looked at. */
export async function compareLayers(job: CompareJob, signal: AbortSignal): Promise<Comparison> {
  signal.throwIfAborted()
  const { promise, resolve, reject } = Promise.withResolvers<FromComparer>()
  const resourceLimits = { maxOldGenerationSizeMb: 512 }
  const thread = new Worker(new URL('./compare-worker.ts', import.meta.url), { workerData: job, resourceLimits })
  const onAbort = () => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  const died = (cause: unknown) =>
    reject(
      new PurserError('resource_exhausted', 'the thread that compares the layers has ended', {
        cause,
        remedy: 'the images may have too many files to be compared',
      }),
    )
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
