import { container } from '../commands/container.ts'
import { defineSaga } from './define.ts'
import { provision } from './provision.ts'

export const provisionContainer = defineSaga(container, 'container.provision', async (saga) => {
  await using undo = saga.undoStack()
  await provision(saga, undo)
  undo.move()
  return { facts: [], result: { id: saga.id } }
})
