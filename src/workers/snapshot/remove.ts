import { snapshot } from '../../commands/snapshot.ts'
import { defineSnapshotHandler } from './effects.ts'
import { snapshotterOf } from './snapshotter-of.ts'

export const removeSnapshot = defineSnapshotHandler(snapshot, 'snapshot.remove', async (job) => {
  const { snapshotters } = job.effects
  const { snapshotter } = snapshotterOf(snapshotters, job.id)
  if (job.state.status !== 'removing') await job.append(...job.decide())
  if (job.state.status === 'removing') await snapshotter.remove(job.state.dir, job.signal)
  return { facts: [snapshot.fact(job.id, 'snapshot.removed', {})] }
})
