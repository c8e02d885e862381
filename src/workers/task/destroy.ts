import { task } from '../../commands/task.ts'
import { killCgroup } from '../../host/kill-cgroup.ts'
import { whileWanted } from '../../model/concurrency.ts'
import { defineTaskHandler } from './effects.ts'

/**
 * Ends a task past its runtime: by its cgroup, by the end of its shim, by the removal of all that there is of it. Each may be
 * done again. That the task has ended is recorded by whoever watches it.
 */
export const destroyTask = defineTaskHandler(task, 'task.destroy', async (job) => {
  const { id, namespace, effects, payload } = job
  const { tasks, paths } = effects
  const { state } = job
  if (job.attempt === 1) job.decide()
  if (state.status === 'absent' || state.status === 'stopped') return { facts: [] }
  const within = AbortSignal.any([job.signal, AbortSignal.timeout(payload.withinMs)])
  switch (payload.phase) {
    case 'kill-cgroup':
      await killCgroup(paths.cgroup(namespace, id), within)
      break
    case 'kill-shim':
      await tasks.killShim(namespace, id, state.runtime, within)
      break
    case 'clean-up': {
      const reason = 'it did not end when it was asked and killed'
      await whileWanted(tasks.lose(namespace, id, state.runtime, reason, payload.withinMs), within)
    }
  }
  return { facts: [] }
})
