import { setTimeout as delay } from 'node:timers/promises'
import { container } from '../../../commands/container.ts'
import { pools } from '../../../commands/pool.ts'
import { poolMember } from '../../../commands/pool-member.ts'
import { task } from '../../../commands/task.ts'
import { freeze, isFrozen, reclaimMemory } from '../../../host/freezer.ts'
import { PurserError } from '../../../model/errors.ts'
import { defineTaskHandler } from '../effects.ts'
import { runInTask } from '../run-in-task.ts'
import { whenReady } from './ready.ts'

const RECLAIM_MS = 5000

/** Past its readiness probe, and frozen. Redelivered, it finds it frozen, or begins again. */
export const admitMember = defineTaskHandler(poolMember, 'pool-member.admit', async (job) => {
  const { id, namespace, state, effects, view } = job
  job.decide()
  if (state.status === 'absent') return { facts: [] }
  const pool = view.get(pools, namespace, state.pool)
  const made = view.get(container, namespace, id)
  const cgroup = effects.paths.cgroup(namespace, id)
  if (!isFrozen(cgroup)) {
    await whenReady(
      job,
      { pool: state.pool, id },
      {
        async before({ live }, signal) {
          if (
            state.status !== 'returned' ||
            pool.status === 'absent' ||
            pool.reuse.mode !== 'reuse' ||
            !pool.reuse.reset
          )
            return
          const { exitCode: status } = await runInTask(live, { execId: 'reset', args: pool.reuse.reset }, signal)
          if (status === 0) return
          throw new PurserError('failed_precondition', `container ${id}: its reset program ended with ${status}`, {
            remedy: `purser logs ${id}`,
          })
        },
        async after(_, signal) {
          if (await freeze(cgroup, signal)) return
          throw new PurserError('unimplemented', `container ${id} has no freezer in its cgroup ${cgroup}`, {
            remedy: 'pools need the freezer controller of cgroup v1, or cgroup v2',
          })
        },
      },
    )
  }
  if (made.status === 'absent') return { facts: [] }
  if (pool.status !== 'absent' && pool.reclaimMemory) {
    await Promise.race([reclaimMemory(cgroup), delay(RECLAIM_MS, undefined, { ref: false })])
  }
  return {
    facts: [poolMember.fact(id, 'pool-member.ready', { manifest: made.manifest }), task.fact(id, 'task.paused', {})],
  }
})
