import { task } from '../commands/task.ts'
import { errorCodeOf, PurserError } from '../model/errors.ts'
import type { Saga } from './define.ts'

/** After SIGKILL a process is gone in moments; what is not by then hangs in the kernel. */
const KILL_MS = 30_000

const hasEnded = (saga: Saga<unknown, unknown>): boolean => {
  const { status } = saga.view.get(task, saga.namespace, saga.id)
  return status === 'stopped' || status === 'absent'
}

/**
 * Asks the task to end, and makes it after the grace period; returns when it has ended.
 *
 * @param ask the signal, and how long it is given; none to kill at once
 */
export async function endTask(saga: Saga<unknown, unknown>, ask?: { signal: string; graceMs: number }): Promise<void> {
  if (hasEnded(saga)) return
  if (ask) {
    await signal(saga, 'ask', ask.signal)
    if (await endsWithin(saga, ask.graceMs)) return
  }
  await signal(saga, 'kill', 'SIGKILL')
  if (await endsWithin(saga, KILL_MS)) return
  throw new PurserError('deadline_exceeded', `container ${saga.id} did not end within ${KILL_MS / 1000} s of SIGKILL`, {
    remedy: 'a process that hangs in the kernel (state D) ends with the device or file system that it waits for',
  })
}

/** How often the stop signal is sent again whose arrival is not known, because the daemon went down as it was sent. */
const SENDS_MAX = 5

async function signal(saga: Saga<unknown, unknown>, name: string, signalName: string): Promise<void> {
  const payload = { signal: signalName }
  for (let send = 1; ; send++) {
    try {
      await saga.step(send === 1 ? name : `${name}-${send}`, { type: 'task.kill', subject: saga.id, payload })
      return
    } catch (error) {
      const code = errorCodeOf(error)
      if (code === 'aborted' && send < SENDS_MAX) continue
      // It ended by itself meanwhile, or with its shim, which is being recorded.
      if (code !== 'failed_precondition' && code !== 'not_found' && code !== 'unavailable') throw error
      return
    }
  }
}

async function endsWithin(saga: Saga<unknown, unknown>, ms: number): Promise<boolean> {
  const patience = AbortSignal.timeout(ms)
  try {
    await saga.until(() => hasEnded(saga), AbortSignal.any([saga.signal, patience]))
    return true
  } catch (error) {
    if (saga.signal.aborted) throw error
    return false
  }
}
