import { availableParallelism } from 'node:os'
import { z } from 'zod'
import { duration } from '../model/duration.ts'
import { fileSystemBytes } from '../oci/spec/storage.ts'

/** `[jobs]` */
export const jobsSchema = z
  .strictObject({
    atOnce: z
      .int()
      .min(1)
      .max(2048)
      .optional()
      .describe('jobs that run at once on the node; as many as there are CPUs by default'),
    keep: duration.prefault('7d').describe('how long an ended job is kept, with its log and its artifacts'),
    artifactBytes: z.int().min(0).default(1_073_741_824).describe('of the artifacts of one job, at most'),
    workspaceBytes: fileSystemBytes
      .optional()
      .describe('of what the workspace of a job may hold that says no workspaceSize; no bound by default'),
    weights: z
      .record(z.string(), z.number().min(0.01, 'a weight is 0.01 at least').max(100, 'a weight is 100 at most'))
      .default({})
      .describe('share of a namespace against others; 1 where none is given'),
  })
  .prefault({})

/**
 * How many jobs run at once. Each has a place of the composite commands, and its steps need such places too: half of them are
 * left for those.
 */
export const jobPlaces = (atOnce: number | undefined, sagas: number): number =>
  Math.max(1, Math.min(atOnce ?? availableParallelism(), Math.floor(sagas / 2)))
