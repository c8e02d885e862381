import { parentDirs, type SnapshotState, snapshot, snapshotId } from '../../commands/snapshot.ts'
import { PurserError } from '../../model/errors.ts'
import type { Job, Outcome } from '../../queue/handler.ts'
import { defineSnapshotHandler, type SnapshotEffects } from './effects.ts'
import { snapshotterOf } from './snapshotter-of.ts'

type MakeJob = Job<SnapshotState, { parent?: string | undefined; sizeBytes?: number | undefined }, SnapshotEffects>

/** Looked at after the intent is in the log: collection, which removes parents without children, has seen it by then. */
function checkParent(job: MakeJob, snapshotter: string, parent: string | undefined): void {
  if (parent === undefined) return
  const above = job.view.get(snapshot, job.namespace, snapshotId(snapshotter, parent))
  if (above.status === 'committed') return
  throw new PurserError('aborted', `parent snapshot ${parent} was just removed`, { remedy: 'try again' })
}

/** Makes the directories of an active snapshot or a view. */
async function make(job: MakeJob): Promise<Outcome> {
  const { snapshotter } = snapshotterOf(job.effects.snapshotters, job.id)
  // Redelivered, the intent is in the log already; a directory that was half made is made anew.
  if (job.payload.sizeBytes !== undefined && snapshotter.boundsSize !== true) {
    throw new PurserError('failed_precondition', `the snapshotter ${snapshotter.name} cannot bound a size`, {
      remedy: 'use overlayfs, or ask for no size',
    })
  }
  if (job.state.status !== 'preparing') await job.append(...job.decide())
  const { state } = job
  if (state.status !== 'preparing') throw new PurserError('aborted', `snapshot ${job.id} is ${state.status}`)
  await using undo = job.undoStack()
  undo.defer(async () => {
    await snapshotter.remove(state.dir, AbortSignal.timeout(60_000))
    await job.append(snapshot.fact(job.id, 'snapshot.removed', {}))
  })
  checkParent(job, snapshotter.name, state.parent)
  if (job.attempt > 1) await snapshotter.remove(state.dir, job.signal)
  const parents = parentDirs(job.view, job.namespace, snapshotter.name, state.parent)
  await snapshotter.create(state.dir, state.kind, parents, job.signal, state.sizeBytes)
  undo.move()
  return { facts: [snapshot.fact(job.id, 'snapshot.prepared', {})], result: { key: job.id } }
}

export const prepareSnapshot = defineSnapshotHandler(snapshot, 'snapshot.prepare', make)
export const viewSnapshot = defineSnapshotHandler(snapshot, 'snapshot.view', make)
