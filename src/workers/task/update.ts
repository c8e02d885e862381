import { task } from '../../commands/task.ts'
import { resourcesOf } from '../../oci/spec/build-spec.ts'
import { defineTaskHandler } from './effects.ts'

/** Sets limits of a task that runs; limits that are not named stay. */
export const updateTask = defineTaskHandler(task, 'task.update', async (job) => {
  const facts = job.decide()
  const { shim } = job.effects.tasks.require(job.namespace, job.id)
  const { devices: _, ...resources } = resourcesOf(job.payload.resources, [])
  await shim.update({ resources }, job.signal)
  return { facts }
})
