import { task } from '../../commands/task.ts'
import { errorCodeOf } from '../../model/errors.ts'
import { defineTaskHandler } from './effects.ts'
import { removeBundle } from './live-task.ts'

/** Removes a task that has ended or was never started; nothing of it stays on the host. */
export const deleteTask = defineTaskHandler(task, 'task.delete', async (job) => {
  const { id, namespace, signal } = job
  const { tasks, shims, paths, networks } = job.effects
  job.decide()
  const { state } = job
  if (state.status === 'absent') return { facts: [] }
  if (state.status === 'created') {
    const live = tasks.get(namespace, id)
    // Its exit is recorded, and what it held is given back, as for any other.
    await live?.shim.kill({ signal: 9, all: true }, signal).catch((error: unknown) => {
      if (errorCodeOf(error) !== 'not_found') throw error
    })
    await job.until(() => job.state.status === 'stopped', signal)
  }
  if (state.status === 'creating') {
    const bundle = paths.bundle(namespace, id)
    await shims.removeRemains({ namespace, id, bundle, runtime: state.runtime, signal })
    removeBundle(bundle)
    await networks.detach({ namespace, id })
  } else {
    const { state: ended } = job
    // Under way already, or tried again where it failed.
    if (ended.status === 'stopped' && ended.host === 'held') await tasks.release(namespace, id, ended.runtime)
  }
  return { facts: [task.fact(id, 'task.deleted', {})] }
})
