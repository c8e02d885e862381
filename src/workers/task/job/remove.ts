import { rm } from 'node:fs/promises'
import { job } from '../../../commands/job.ts'
import { defineTaskHandler } from '../effects.ts'

/** The record goes last: until then it says where the files are. */
export const removeJob = defineTaskHandler(job, 'job.remove', async ({ id, namespace, effects, append, decide }) => {
  await append(...decide())
  await rm(effects.paths.job(namespace, id), { recursive: true, force: true })
  return { facts: [job.fact(id, 'job.removed', {})], result: { id } }
})
