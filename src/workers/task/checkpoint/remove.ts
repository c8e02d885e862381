import { container } from '../../../commands/container.ts'
import { defineTaskHandler } from '../effects.ts'
import { CheckpointFiles } from './checkpoint-files.ts'

/** Done again after a restart, it removes what is left. */
export const removeCheckpoint = defineTaskHandler(container, 'container.remove-checkpoint', async (job) => {
  const { id, namespace, payload, effects } = job
  const facts = job.decide()
  await new CheckpointFiles(effects.paths.checkpoints(namespace, id), payload.name).remove()
  return { facts }
})
