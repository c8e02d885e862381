import { pool } from '../commands/pool.ts'
import { membersOf, poolMember } from '../commands/pool-member.ts'
import { mapLimited } from '../model/concurrency.ts'
import { defineSaga } from './define.ts'

const AT_ONCE = 8

/** Ends the tasks of a pool and forgets it; what is on its way is waited for. */
export const deletePool = defineSaga(pool, 'pool.delete', async (saga) => {
  const { id: name, namespace, view } = saga
  if (saga.attempt === 1) await saga.append(...saga.decide())
  const ids = membersOf(view, namespace, name).map(({ id }) => id)
  await mapLimited(ids, AT_ONCE, saga.signal, async (id, signal) => {
    const request = { type: 'pool-member.retire', subject: id, payload: { reason: 'its pool is removed' } }
    try {
      await saga.step(`retire-${id}`, request, signal)
    } catch (error) {
      if (view.get(poolMember, namespace, id).status !== 'absent') throw error // Else it has gone by itself.
    }
  })
  return { facts: [pool.fact(name, 'pool.deleted', {})], result: { name } }
})
