import { task } from '../../commands/task.ts'
import { limitsOf } from '../../oci/spec/limits.ts'
import { defineTaskHandler } from './effects.ts'

/** Sets limits of a task that runs; limits that are not named stay. */
export const updateTask = defineTaskHandler(task, 'task.update', async (job) => {
  const facts = job.decide()
  const { shim } = job.effects.tasks.require(job.namespace, job.id)
  await shim.update({ resources: limitsOf(job.payload.resources) }, job.signal)
  return { facts }
})
