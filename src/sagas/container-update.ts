import { container } from '../commands/container.ts'
import { task } from '../commands/task.ts'
import { errorCodeOf } from '../model/errors.ts'
import { defineSaga } from './define.ts'

/** What runs first, for its kernel may refuse; then what its next task will be made from. */
export const updateContainer = defineSaga(container, 'container.update', async (saga) => {
  const { id, namespace, payload, state } = saga
  const facts = saga.decide()
  const isLive = () => ['created', 'running', 'paused'].includes(saga.view.get(task, namespace, id).status)
  if (payload.resources !== undefined && state.status !== 'absent' && isLive()) {
    const { memoryBytes, memorySwapBytes } = state.options.resources
    const isOfMemory = 'memoryBytes' in payload.resources || 'memorySwapBytes' in payload.resources
    // The kernel bounds memory and swap together: one is not changed without the other.
    const resources = { ...(isOfMemory ? { memoryBytes, memorySwapBytes } : {}), ...payload.resources }
    try {
      await saga.step('task', { type: 'task.update', subject: id, payload: { resources } })
    } catch (error) {
      const hasEnded = errorCodeOf(error) === 'failed_precondition' || errorCodeOf(error) === 'not_found'
      if (!hasEnded || isLive()) throw error
    }
  }
  return { facts, result: { id } }
})
