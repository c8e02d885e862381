import { task } from '../../commands/task.ts'
import { defineTaskHandler } from './effects.ts'

export const startTask = defineTaskHandler(task, 'task.start', async (job) => {
  const { id, namespace, signal } = job
  const { tasks } = job.effects
  // Redelivered after the fact was written, or after it ran and ended: it was started, and is not started twice.
  if (job.attempt > 1 && job.state.status !== 'created' && job.state.status !== 'absent') return { facts: [] }
  job.decide()
  const { shim } = tasks.require(namespace, id)
  const pid = await tasks.starting(namespace, id, undefined, async () => {
    if (job.attempt > 1) {
      const state = await shim.state({}, signal)
      if (state.status !== 'created') return state.pid
    }
    return (await shim.start({}, signal)).pid
  })
  return { facts: [task.fact(id, 'task.started', { pid, startedAt: new Date().toISOString() })], result: { pid } }
})
