import { membersOf, sandbox } from '../commands/sandbox.ts'
import { mapLimited } from '../model/concurrency.ts'
import { defineSaga } from './define.ts'

const AT_ONCE = 8

/** Its containers where that is asked for, what they have shared, and the record. */
export const deleteSandbox = defineSaga(sandbox, 'sandbox.delete', async (saga) => {
  const { id, namespace, payload, view } = saga
  if (saga.attempt === 1) saga.decide()
  if (payload.inUse === 'remove') {
    const request = { type: 'container.remove', payload: { running: 'kill' } }
    await mapLimited(membersOf(view, namespace, id), AT_ONCE, saga.signal, (member, signal) =>
      saga.step(`remove-${member}`, { ...request, subject: member }, signal),
    )
  }
  const isHeld = () => saga.state.status !== 'absent' && saga.state.status !== 'stopped'
  if (isHeld() && saga.state.status !== 'deleting') await saga.step('halt', { type: 'sandbox.halt', subject: id })
  if (saga.state.status !== 'absent') await saga.step('discard', { type: 'sandbox.discard', subject: id })
  return { facts: [], result: { id } }
})
