import { task } from '../../commands/task.ts'
import { thaw } from '../../host/freezer.ts'
import type { Job } from '../../queue/handler.ts'
import { defineTaskHandler, type TaskEffects } from './effects.ts'

export const pauseTask = defineTaskHandler(task, 'task.pause', async (job) => {
  const facts = job.decide()
  const { shim } = job.effects.tasks.require(job.namespace, job.id)
  const { status } = await shim.state({}, job.signal)
  if (status !== 'paused') await shim.pause(job.signal)
  return { facts }
})

export const resumeTask = defineTaskHandler(task, 'task.resume', async (job) => {
  const facts = job.decide()
  await letGoOn(job, job.signal)
  return { facts }
})

/** Whichever way it was frozen: by its runtime, or by us in its cgroup, of which its shim knows nothing. */
export async function letGoOn(
  { effects, namespace, id }: Pick<Job<unknown, unknown, TaskEffects>, 'effects' | 'namespace' | 'id'>,
  signal: AbortSignal,
): Promise<void> {
  const { shim } = effects.tasks.require(namespace, id)
  const { status } = await shim.state({}, signal)
  if (status === 'paused') await shim.resume(signal)
  else thaw(effects.paths.cgroup(namespace, id))
}
