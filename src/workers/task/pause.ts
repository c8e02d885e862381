import { task } from '../../commands/task.ts'
import { freeze, isFrozen, thaw } from '../../host/freezer.ts'
import type { Job } from '../../queue/handler.ts'
import { defineTaskHandler, type TaskEffects } from './effects.ts'

export const pauseTask = defineTaskHandler(task, 'task.pause', async (job) => {
  const facts = job.decide()
  const { shim } = job.effects.tasks.require(job.namespace, job.id)
  const { status } = await shim.state({}, job.signal)
  if (status === 'paused') return { facts }
  // Cut off when it had frozen them, its runtime would refuse to do it again, and its shim goes on to take it for running.
  if (job.attempt > 1) thaw(job.effects.paths.cgroup(job.namespace, job.id))
  await shim.pause(job.signal)
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
  const cgroup = effects.paths.cgroup(namespace, id)
  if (status !== 'paused') return void thaw(cgroup)
  // Cut off when they went on already, its runtime would refuse, and its shim goes on to take it for paused.
  if (!isFrozen(cgroup)) await freeze(cgroup, signal)
  await shim.resume(signal)
}
