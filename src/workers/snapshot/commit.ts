import { snapshot, snapshotId } from '../../commands/snapshot.ts'
import { PurserError } from '../../model/errors.ts'
import { defineSnapshotHandler } from './effects.ts'
import { snapshotterOf } from './snapshotter-of.ts'

/** The directory stays; it gets a new name, and is written to no more. */
export const commitSnapshot = defineSnapshotHandler(snapshot, 'snapshot.commit', async (job) => {
  const { snapshotters } = job.effects
  const { snapshotter } = snapshotterOf(snapshotters, job.id)
  const removed = job.decide()
  const { state } = job
  if (state.status !== 'active') throw new PurserError('failed_precondition', `snapshot ${job.id} is ${state.status}`)
  await snapshotter.sync(state.dir, job.signal)
  await snapshotter.commit(state.dir, job.signal)
  const committed = snapshot.fact(snapshotId(snapshotter.name, job.payload.name), 'snapshot.committed', {
    dir: state.dir,
    labels: job.payload.labels,
    ...(state.parent === undefined ? {} : { parent: state.parent }),
  })
  const synced = snapshot.fact(committed.id, 'snapshot.synced', { dir: state.dir })
  return { facts: [...removed, committed, synced], result: { key: job.payload.name } }
})
