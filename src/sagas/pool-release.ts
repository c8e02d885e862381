import { pool } from '../commands/pool.ts'
import { poolMember } from '../commands/pool-member.ts'
import { task } from '../commands/task.ts'
import { defineSaga, type Saga } from './define.ts'

/** Handed back, a task is reset and ready again where the pool reuses its tasks; otherwise it ends. */
export const releaseToPool = defineSaga(pool, 'pool.release', async (saga) => {
  const { namespace, payload } = saga
  const { id } = payload
  if (saga.attempt === 1) saga.decide()
  if (isReusable(saga, id)) {
    await saga.append(poolMember.fact(id, 'pool-member.returned', {}))
    try {
      await saga.step('admit', { type: 'pool-member.admit', subject: id })
      return { facts: [], result: { id, reused: true } }
    } catch (err) {
      if (saga.signal.aborted) throw err
      saga.logger.warn({ err, id }, 'a task that was handed back could not be reset')
    }
  }
  if (saga.view.get(poolMember, namespace, id).status !== 'absent') {
    await saga.step('retire', { type: 'pool-member.retire', subject: id, payload: { reason: 'handed back' } })
  }
  return { facts: [], result: { id, reused: false } }
})

function isReusable({ view, namespace, id: name, command }: Saga<unknown, unknown>, id: string): boolean {
  const of = view.get(pool, namespace, name)
  const member = view.get(poolMember, namespace, id)
  if (of.status !== 'present' || of.reuse.mode !== 'reuse') return false
  if (member.status !== 'claimed' || view.get(task, namespace, id).status !== 'running') return false
  const { usesMax = Number.POSITIVE_INFINITY, ageMsMax = Number.POSITIVE_INFINITY } = of.reuse
  return member.uses < usesMax && Date.parse(command.issuedAt) - Date.parse(member.madeAt) < ageMsMax
}
