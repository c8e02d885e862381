import { container } from '../commands/container.ts'
import { defineSaga } from './define.ts'
import { provision } from './provision.ts'
import { startTask } from './start-task.ts'
import { startedFacts } from './wanted.ts'

/** Ends when the process runs; its exit is an event of the task. */
export const runContainer = defineSaga(container, 'container.run', async (saga) => {
  await using undo = saga.undoStack()
  await provision(saga, undo)
  await startTask(saga, undo)
  undo.move()
  return { facts: startedFacts(saga), result: { id: saga.id } }
})
