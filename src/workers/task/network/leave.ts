import { container } from '../../../commands/container.ts'
import { task } from '../../../commands/task.ts'
import { defineTaskHandler } from '../effects.ts'

/** Out of one network, in the namespace of a task that there is, and in the record. */
export const disconnectContainer = defineTaskHandler(container, 'container.disconnect', async (job) => {
  const { id, namespace, payload, view, effects } = job
  const { network } = payload
  const disconnected = job.decide()
  const result = { id, network }
  if (!('pid' in view.get(task, namespace, id))) return { facts: disconnected, result }
  await job.append(task.fact(id, 'task.network-detaching', { network }))
  const attached = await effects.networks.leave({ namespace, id }, network)
  // While the record still names that network, so that those who are in it learn of it.
  return { facts: [task.fact(id, 'task.network-attached', attached), ...disconnected], result }
})
