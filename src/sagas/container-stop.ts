import { container } from '../commands/container.ts'
import { task } from '../commands/task.ts'
import { defineSaga } from './define.ts'
import { endTask } from './end-task.ts'

const GRACE_MS = 10_000

/** The stop signal, a grace period, and then harder means; a container that does not run is stopped already. */
export const stopContainer = defineSaga(container, 'container.stop', async (saga) => {
  saga.decide()
  const state = saga.view.get(task, saga.namespace, saga.id)
  if (state.status === 'created' || state.status === 'running' || state.status === 'paused') {
    const { signal, graceMs } = saga.payload
    const own = saga.state.status === 'absent' ? undefined : saga.state.stopTimeoutMs
    await endTask(saga, { signal: signal ?? String(state.stopSignal), graceMs: graceMs ?? own ?? GRACE_MS })
  }
  return { facts: [], result: { id: saga.id } }
})
