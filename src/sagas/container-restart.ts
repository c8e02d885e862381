import { container } from '../commands/container.ts'
import { task } from '../commands/task.ts'
import { defineSaga } from './define.ts'
import { stopTask } from './end-task.ts'
import { startTask } from './start-task.ts'
import { startedFacts } from './wanted.ts'

/** A stop and a start; begun anew after a restart of the daemon, it does not stop what it has started. */
export const restartContainer = defineSaga(container, 'container.restart', async (saga) => {
  saga.decide()
  const state = saga.view.get(task, saga.namespace, saga.id)
  const isOurs = state.status !== 'absent' && state.origin === saga.command.correlationId
  if (!isOurs) await stopTask(saga, saga.payload)
  await using undo = saga.undoStack()
  await startTask(saga, undo)
  undo.move()
  return { facts: startedFacts(saga), result: { id: saga.id } }
})
