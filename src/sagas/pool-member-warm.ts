import { pool } from '../commands/pool.ts'
import { POOL_LABEL, poolMember } from '../commands/pool-member.ts'
import { PurserError } from '../model/errors.ts'
import { defineSaga } from './define.ts'
import { retire } from './pool-member-retire.ts'

/** A container of the pool's template, started, ready and frozen; what does not get that far is removed. */
export const warmMember = defineSaga(poolMember, 'pool-member.warm', async (saga) => {
  const { id, namespace, payload, view } = saga
  if (saga.state.status === 'absent') await saga.append(...saga.decide())
  const of = view.get(pool, namespace, payload.pool)
  await using undo = saga.undoStack()
  undo.defer(() => retire(saga, 'it did not become ready'))
  if (of.status !== 'present') {
    throw new PurserError('failed_precondition', `pool ${payload.pool} is ${of.status}`, { remedy: 'purser pool ls' })
  }
  const labels = { ...of.template.labels, [POOL_LABEL]: payload.pool }
  await saga.step('run', { type: 'container.run', subject: id, payload: { ...of.template, labels } })
  await saga.step('admit', { type: 'pool-member.admit', subject: id })
  undo.move()
  return { facts: [], result: { id } }
})
