import { container } from '../../../commands/container.ts'
import { pools } from '../../../commands/pool.ts'
import { task } from '../../../commands/task.ts'
import { PurserError } from '../../../model/errors.ts'
import type { Job } from '../../../queue/handler.ts'
import type { TaskEffects } from '../effects.ts'
import { holdClaimFifo } from './claim-files.ts'
import { type Probed, untilReady } from './probe.ts'

export type PoolJob = Pick<Job<unknown, unknown, TaskEffects>, 'effects' | 'namespace' | 'signal' | 'until' | 'view'>

/**
 * Waits until a task of a pool is past its readiness probe, and does what comes then while the process waits.
 *
 * @param then before and after the probe; both have the pool's time
 * @throws PurserError deadline_exceeded after the pool's `readyMs`; failed_precondition when the task ends before
 */
export async function whenReady(
  job: PoolJob,
  { pool: name, id }: { pool: string; id: string },
  then: {
    before?: (probed: Probed, signal: AbortSignal) => Promise<void>
    after: (probed: Probed, signal: AbortSignal) => Promise<void>
  },
): Promise<void> {
  const { namespace, effects, view } = job
  const pool = view.get(pools, namespace, name)
  const running = view.get(task, namespace, id)
  if (
    pool.status === 'absent' ||
    view.get(container, namespace, id).status === 'absent' ||
    running.status !== 'running'
  )
    throw hasEnded(name, id)
  const live = effects.tasks.require(namespace, id)
  const probed = { live, pid: running.pid, cgroup: effects.paths.cgroup(namespace, id) }
  const patience = AbortSignal.timeout(pool.readyMs)
  const over = new AbortController() // It has ended, or we have.
  const within = AbortSignal.any([job.signal, patience, over.signal])
  job
    .until(() => view.get(task, namespace, id).status !== 'running', within)
    .then(() => over.abort(hasEnded(name, id)))
    .catch(() => {}) // Nobody waits for its end any more.
  try {
    using _ = holdClaimFifo(live.bundle)
    await then.before?.(probed, within)
    if (pool.ready) await untilReady(pool.ready, probed, within)
    await then.after(probed, within)
  } catch (error) {
    if (over.signal.aborted) throw over.signal.reason
    if (job.signal.aborted || !patience.aborted) throw error
    const message = `container ${id} of pool ${name} was not ready (probe: ${pool.ready?.type ?? 'none'}) within ${pool.readyMs} ms`
    throw new PurserError('deadline_exceeded', message, {
      remedy: `purser logs ${id}, or a longer --ready-timeout`,
      cause: error,
    })
  } finally {
    over.abort()
  }
}

const hasEnded = (pool: string, id: string): PurserError =>
  new PurserError('failed_precondition', `container ${id} of pool ${pool} ended before it was ready`, {
    remedy: `purser history ${id}`,
  })
