import { task } from '../../commands/task.ts'
import { parseSignal } from '../../oci/signals.ts'
import { defineTaskHandler } from './effects.ts'

const SIGKILL = 9

/** Sends a signal. Redelivered, it is sent again: that a signal arrived at all cannot be seen from outside. */
export const killTask = defineTaskHandler(task, 'task.kill', async (job) => {
  const { id, namespace, signal: within, payload } = job
  const facts = job.decide()
  const { shim } = job.effects.tasks.require(namespace, id)
  const signal = parseSignal(payload.signal)
  const { execId, target } = payload
  const wasPaused = job.state.status === 'paused'
  await shim.kill(
    { signal, ...(execId === undefined ? {} : { execId }), ...(target === 'all' ? { all: true } : {}) },
    within,
  )
  // A frozen process dies when it is thawed.
  if (wasPaused && signal === SIGKILL) await shim.resume(within)
  return { facts }
})
