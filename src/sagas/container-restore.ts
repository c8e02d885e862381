import { container } from '../commands/container.ts'
import { defineSaga } from './define.ts'
import { provision } from './provision.ts'
import { startTask } from './start-task.ts'
import { startedFacts } from './wanted.ts'

/** What the checkpoint is called that came in the archive. */
const NAME = 'imported'

/** A container as the request has it, whose processes go on from an archive; where that is refused, nothing of it is left. */
export const restoreContainer = defineSaga(container, 'container.restore', async (saga) => {
  const { id, payload } = saga
  const { ingest, tcp, unixSockets, fileLocks } = payload
  await using undo = saga.undoStack()
  await provision(saga, undo)
  const taken = { name: NAME, ingest, tcp, unixSockets, fileLocks }
  await saga.step('import', { type: 'container.import-checkpoint', subject: id, payload: taken })
  await startTask(saga, undo, NAME)
  undo.move()
  return { facts: startedFacts(saga), result: { id } }
})
