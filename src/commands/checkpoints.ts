import { z } from 'zod'
import { identifier } from '../model/ids.ts'

/** How a checkpoint is made, and what a restore from it is told again: the images do not say it. */
export const checkpointMode = z.strictObject({
  tcp: z
    .enum(['refuse', 'keep'])
    .default('refuse')
    .describe(
      'established TCP connections; kept ones go on where the address is the same, and nothing else spoke on them',
    ),
  unixSockets: z
    .enum(['refuse', 'keep'])
    .default('refuse')
    .describe('Unix sockets whose other end is outside of the container'),
  fileLocks: z.enum(['refuse', 'keep']).default('refuse').describe('locks on files'),
})
export type CheckpointMode = z.output<typeof checkpointMode>

export const checkpointRequest = checkpointMode.extend({
  name: identifier.describe('of the checkpoint: its container has one of a name'),
  processes: z.enum(['end', 'go-on']).default('end').describe('what becomes of the processes'),
  files: z
    .enum(['leave', 'keep'])
    .default('leave')
    .describe('keep: what the container has written beside its image is kept with it, so that it can be exported'),
})

/** What is recorded of a checkpoint: by whom it was made, and so where it can be restored. */
export const checkpointRecord = z.strictObject({
  name: z.string(),
  mode: checkpointMode,
  runtime: z.string().describe('name of the runtime, which is the only one that restores it'),
  criu: z.string().describe('version of CRIU'),
  architecture: z.string(),
  sizeBytes: z.int().nonnegative().describe('on disk'),
  files: z.enum(['leave', 'keep']),
})

export type Checkpoint = Omit<z.output<typeof checkpointRecord>, 'name'> & { createdAt: string }

/** By its name, which may be any word: also one that every object has a property of. */
export const checkpointOf = (
  state: { checkpoints?: Readonly<Record<string, Checkpoint>> },
  name: string,
): Checkpoint | undefined =>
  state.checkpoints !== undefined && Object.hasOwn(state.checkpoints, name) ? state.checkpoints[name] : undefined
