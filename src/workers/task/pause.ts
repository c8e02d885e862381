import { task } from '../../commands/task.ts'
import { defineTaskHandler } from './effects.ts'

export const pauseTask = defineTaskHandler(task, 'task.pause', async (job) => {
  const facts = job.decide()
  const { shim } = job.effects.tasks.require(job.namespace, job.id)
  const { status } = await shim.state({}, job.signal)
  if (status !== 'paused') await shim.pause(job.signal)
  return { facts }
})

export const resumeTask = defineTaskHandler(task, 'task.resume', async (job) => {
  const facts = job.decide()
  const { shim } = job.effects.tasks.require(job.namespace, job.id)
  const { status } = await shim.state({}, job.signal)
  if (status === 'paused') await shim.resume(job.signal)
  return { facts }
})
