import { PurserError } from '../model/errors.ts'
import { type FromThread, inThread } from './in-thread.ts'

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

export type FromComparer = FromThread<Comparison>

/** Compares what the layers of two images amount to, in a thread of its own. Times of files are not looked at. */
export const compareLayers = (job: CompareJob, signal: AbortSignal): Promise<Comparison> =>
  inThread(
    new URL('./compare-worker.ts', import.meta.url),
    { job, limits: { maxOldGenerationSizeMb: 512 }, died },
    signal,
  )

const died = (cause: unknown): PurserError =>
  new PurserError('resource_exhausted', 'the thread that compares the layers has ended', {
    cause,
    remedy: 'the images may have too many files to be compared',
  })
