import { container } from '../commands/container.ts'
import { defineSaga } from './define.ts'
import { startTask } from './start-task.ts'
import { startedFacts } from './wanted.ts'

export const startContainer = defineSaga(container, 'container.start', async (saga) => {
  saga.decide() // Refuses for a container that is not there.
  await using undo = saga.undoStack()
  const isNew = await startTask(saga, undo, saga.payload.checkpoint)
  undo.move()
  const isWanted = saga.state.status !== 'absent' && saga.state.restarts?.wanted === true
  return { facts: isNew || !isWanted ? startedFacts(saga) : [], result: { id: saga.id } }
})
