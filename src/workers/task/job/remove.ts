import { rm } from 'node:fs/promises'
import { job } from '../../../commands/job.ts'
import { defineTaskHandler } from '../effects.ts'

/** The record goes last: until then it says where the files are. */
export const removeJob = defineTaskHandler(job, 'job.remove', async (saga) => {
  const { id, namespace, effects } = saga
  await saga.append(...saga.decide())
  // One that could not be cleaned when its attempt ended may still be mounted.
  const attempts = saga.state.status === 'absent' ? [] : saga.state.attempts
  for (const at of attempts.keys()) await effects.jobs.workspaces.remove({ namespace, id, attempt: at + 1 })
  await rm(effects.paths.job(namespace, id), { recursive: true, force: true })
  return { facts: [job.fact(id, 'job.removed', {})], result: { id } }
})
