import { image } from '../../commands/image.ts'
import { defineGcHandler } from './effects.ts'
import { sweep } from './sweep.ts'

/** The name goes, and with it what nothing else refers to; when this ends, the disk space is free. */
export const deleteImage = defineGcHandler(image, 'image.delete', async (job) => {
  // Redelivered after the record went: only the sweep is left.
  if (job.attempt === 1 || job.state.status === 'present') await job.append(...job.decide())
  const swept = await sweep(job)
  return { facts: [], result: { name: job.id, ...swept } }
})
