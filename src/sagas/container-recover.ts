import { container } from '../commands/container.ts'
import { defineSaga } from './define.ts'
import { startTask } from './start-task.ts'

/**
 * Starts a container again as its restart policy says. It is counted before anything is done, so that a start that fails
 * counts too; begun anew after a restart of the daemon, it goes on with what it has counted.
 */
export const recoverContainer = defineSaga(container, 'container.recover', async (saga) => {
  const { id, payload, state } = saga
  const isCounted =
    state.status !== 'absent' && state.restarts?.wanted === true && state.restarts.count === payload.count
  if (saga.attempt === 1 || !isCounted) {
    const facts = saga.decide()
    if (facts.length === 0) return { facts: [], result: { id, restarted: false } }
    await saga.append(...facts)
  }
  await using undo = saga.undoStack()
  await startTask(saga, undo)
  undo.move()
  return { facts: [], result: { id, restarted: true } }
})
