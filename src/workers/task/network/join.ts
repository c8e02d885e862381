import { container } from '../../../commands/container.ts'
import { task } from '../../../commands/task.ts'
import { defineTaskHandler } from '../effects.ts'
import { conflistOf } from './connect.ts'

/** One more network: in the record, for all starts to come, and in the namespace of a task that there is. */
export const connectContainer = defineTaskHandler(container, 'container.connect', async (job) => {
  const { id, namespace, payload, view, effects, signal } = job
  const name = payload.network
  const connected = job.decide()
  const list = await conflistOf(job, name, false)
  const result = { id, network: name }
  if (!('pid' in view.get(task, namespace, id))) return { facts: connected, result }
  await job.append(task.fact(id, 'task.network-attaching', { networks: [name] }))
  const attached = await effects.networks.join({ namespace, id }, { name, list }, signal)
  return { facts: [...connected, task.fact(id, 'task.network-attached', attached)], result }
})
