import { container } from '../commands/container.ts'
import { defineSaga } from './define.ts'
import { startTask } from './start-task.ts'

export const startContainer = defineSaga(container, 'container.start', async (saga) => {
  saga.decide() // Refuses for a container that is not there.
  await using undo = saga.undoStack()
  await startTask(saga, undo)
  undo.move()
  return { facts: [], result: { id: saga.id } }
})
