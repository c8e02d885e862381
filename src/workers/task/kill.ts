import { task } from '../../commands/task.ts'
import { errorCodeOf, PurserError } from '../../model/errors.ts'
import { parseSignal } from '../../oci/signals.ts'
import { defineTaskHandler } from './effects.ts'
import { letGoOn } from './pause.ts'

const SIGKILL = 9

/**
 * Sends a signal, once. Whether one arrived cannot be seen from outside: when the daemon went down in the moment between
 * the intent and the fact, SIGKILL is sent again, for it kills no more the second time; of another signal the caller is
 * told that it is not known.
 */
export const killTask = defineTaskHandler(task, 'task.kill', async (job) => {
  const { id, namespace, signal: within, payload, state } = job
  const signal = parseSignal(payload.signal)
  const { execId, target } = payload
  const mayBeSent = state.status !== 'absent' && state.status !== 'creating' && state.lastKill === job.command.id
  if (!mayBeSent) await job.append(...job.decide())
  else if (state.status === 'stopped')
    return { facts: [] } // It has ended: nothing is left to be done.
  else if (signal !== SIGKILL) {
    throw new PurserError(
      'aborted',
      `the daemon went down while it sent signal ${signal} to container ${id}: whether it arrived is not known`,
      { remedy: 'send it again, if twice does no harm' },
    )
  }
  const { shim } = job.effects.tasks.require(namespace, id)
  const toExec = execId === undefined ? {} : { execId }
  try {
    await shim.kill({ signal, ...toExec, ...(target === 'all' ? { all: true } : {}) }, within)
    // A frozen process dies when it is thawed.
    if (signal === SIGKILL && state.status === 'paused') await letGoOn(job, within)
  } catch (error) {
    const isGone = errorCodeOf(error) === 'not_found' || errorCodeOf(error) === 'failed_precondition'
    if (!mayBeSent || !isGone) throw error
  }
  return { facts: [task.fact(id, 'task.killed', { signal, target, ...toExec })] }
})
