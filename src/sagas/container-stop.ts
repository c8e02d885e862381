import { container } from '../commands/container.ts'
import { defineSaga } from './define.ts'
import { stopTask } from './end-task.ts'
import { rest } from './wanted.ts'

/** The stop signal, a grace period, and then harder means; a container that does not run is stopped already. */
export const stopContainer = defineSaga(container, 'container.stop', async (saga) => {
  saga.decide()
  await rest(saga)
  await stopTask(saga, saga.payload)
  return { facts: [], result: { id: saga.id } }
})
