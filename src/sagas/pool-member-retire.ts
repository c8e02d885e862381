import { container } from '../commands/container.ts'
import { poolMember } from '../commands/pool-member.ts'
import { defineSaga, type Saga, UNDO_MS } from './define.ts'

/** Ends the task of a pool and removes its container; one that is gone already is only forgotten. */
export async function retire(
  saga: Saga<unknown, unknown>,
  reason: string,
  signal = AbortSignal.timeout(UNDO_MS),
): Promise<void> {
  const { id, namespace, view } = saga
  const member = view.get(poolMember, namespace, id)
  if (member.status === 'absent') return
  if (member.status !== 'retiring') await saga.append(poolMember.fact(id, 'pool-member.retiring', { reason }))
  const isThere = () => view.get(container, namespace, id).status !== 'absent'
  if (isThere()) {
    const request = { type: 'container.remove', subject: id, payload: { running: 'kill' } }
    await saga.step('remove', request, signal).catch((error: unknown) => {
      if (isThere()) throw error // Else somebody else has removed it.
    })
  }
  await saga.append(poolMember.fact(id, 'pool-member.retired', {}))
}

export const retireMember = defineSaga(poolMember, 'pool-member.retire', async (saga) => {
  if (saga.attempt === 1) saga.decide()
  await retire(saga, saga.payload.reason, saga.signal)
  return { facts: [], result: { id: saga.id } }
})
