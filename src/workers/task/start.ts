import { command } from '../../commands/command.ts'
import { task } from '../../commands/task.ts'
import { hasBegun } from './begun.ts'
import { defineTaskHandler } from './effects.ts'

/** Not cut short by a cancellation: whether the process runs would not be known. */
const START_MS = 60_000

export const startTask = defineTaskHandler(task, 'task.start', async (job) => {
  const { id, namespace, signal } = job
  const { tasks } = job.effects
  job.decide()
  const { shim, bundle } = tasks.require(namespace, id)
  tasks.starts.begin(namespace, id, undefined, job.command.id)
  // Redelivered, it may have been started, and even have ended: it is not started twice.
  const found = job.attempt > 1 ? await shim.state({}, signal) : undefined
  if (found && (found.status !== 'created' || (await hasBegun(bundle, found.pid)))) {
    const begun = job.view.get(command, namespace, job.command.id)
    const startedAt = 'startedAt' in begun && begun.startedAt ? begun.startedAt : new Date().toISOString()
    return { facts: [task.fact(id, 'task.started', { pid: found.pid, startedAt })], result: { pid: found.pid } }
  }
  signal.throwIfAborted()
  const { pid } = await shim.start({}, AbortSignal.timeout(START_MS))
  return { facts: [task.fact(id, 'task.started', { pid, startedAt: new Date().toISOString() })], result: { pid } }
})
