import { command, isActive } from '../../commands/command.ts'
import { content } from '../../commands/content.ts'
import { childOf, snapshot, splitSnapshotId } from '../../commands/snapshot.ts'
import type { View } from '../../model/aggregate.ts'
import { type Digest, parseDigest } from '../../model/digest.ts'
import { errorCodeOf } from '../../model/errors.ts'
import type { Job } from '../../queue/handler.ts'
import type { GcEffects } from './effects.ts'
import { findGarbage, type Garbage } from './mark.ts'

type GcJob = Job<unknown, unknown, GcEffects>

export interface Swept {
  contentCount: number
  snapshotCount: number
  freedBytes: number
}

/**
 * Removes what nothing refers to: an item goes only if it still has the version that was marked, and whoever comes to
 * rely on an item writes to it (or, as a child of a snapshot, is seen here). Who is about to do so holds the blob.
 */
export async function sweep(job: GcJob): Promise<Swept> {
  const swept: Swept = { contentCount: 0, snapshotCount: 0, freedBytes: 0 }
  for (const item of findGarbage(job.view)) {
    job.signal.throwIfAborted()
    const freedBytes = item.kind === 'content' ? await removeContent(job, item) : await removeSnapshot(job, item)
    if (freedBytes === undefined) continue
    swept[item.kind === 'content' ? 'contentCount' : 'snapshotCount'] += 1
    swept.freedBytes += freedBytes
  }
  // What a pull that was cut off has stored, it goes on with.
  if (!isImageUnderWay(job.view)) swept.freedBytes += (await removeUnrecorded(job)) + (await removeIngests(job))
  return swept
}

/** The record first. Whoever holds the blob by then keeps it, and records it anew. */
async function removeContent(job: GcJob, { namespace, id, version }: Garbage): Promise<number | undefined> {
  const digest = parseDigest(id)
  const state = job.view.get(content, namespace, digest)
  if (job.effects.content.isHeld(digest)) return undefined
  if (!(await job.appendIf(version, content.fact(digest, 'content.deleted', {}, namespace)))) return undefined
  if (isAnywhere(job.view, digest) || !job.effects.content.remove(digest)) return 0
  return state.status === 'present' ? state.sizeBytes : 0
}

/** Blobs of nobody: whoever stored them was cut off before the log knew of it. @returns bytes freed */
async function removeUnrecorded({ view, effects, signal }: GcJob): Promise<number> {
  let freedBytes = 0
  const recorded = new Set<string>()
  for (const { id } of view.list(content)) recorded.add(id)
  for await (const { digest, sizeBytes } of effects.content.list()) {
    signal.throwIfAborted()
    if (recorded.has(digest) || isAnywhere(view, digest)) continue
    if (effects.content.remove(digest)) freedBytes += sizeBytes
  }
  return freedBytes
}

function isAnywhere(view: View, digest: Digest): boolean {
  for (const { id } of view.list(content)) if (id === digest) return true
  return false
}

async function removeSnapshot(job: GcJob, { namespace, id, version }: Garbage): Promise<number | undefined> {
  const before = job.view.get(snapshot, namespace, id)
  const snapshotter = job.effects.snapshotters.get(splitSnapshotId(id).snapshotter)
  if (before.status === 'absent' || !snapshotter) return undefined
  if (before.status !== 'removing') {
    if (!(await job.appendIf(version, snapshot.fact(id, 'snapshot.removing', {}, namespace)))) return undefined
    if (childOf(job.view, namespace, id) !== undefined) {
      // It became a parent since it was marked: it stays what it was.
      const { dir, parent, labels } = before
      await job.append(snapshot.fact(id, 'snapshot.committed', { dir, parent, labels }, namespace))
      return undefined
    }
  }
  const removing = job.view.version(snapshot, namespace, id)
  if (job.view.get(snapshot, namespace, id).status !== 'removing') return undefined
  let sizeBytes = 0
  try {
    // Cut off between its removal and the record of it, the directory is gone already.
    const usage = await snapshotter.usage(before.dir, job.signal).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'not_found') return { sizeBytes: 0 }
      throw error
    })
    sizeBytes = usage.sizeBytes
    await snapshotter.remove(before.dir, job.signal)
  } catch (err) {
    if (errorCodeOf(err) !== 'unavailable') throw err
    // A snapshotter of another process that is away: the next collection finds it again.
    job.logger.warn({ err, snapshot: id }, 'a snapshot could not be removed')
    return undefined
  }
  // A pull may have made it anew meanwhile, in another directory.
  await job.appendIf(removing, snapshot.fact(id, 'snapshot.removed', {}, namespace))
  return sizeBytes
}

/** Half-fetched blobs. @returns bytes freed */
async function removeIngests({ effects, signal }: GcJob): Promise<number> {
  let freedBytes = 0
  for await (const { ref, offsetBytes } of effects.content.ingests()) {
    signal.throwIfAborted()
    await effects.content.removeIngest(ref)
    freedBytes += offsetBytes
  }
  return freedBytes
}

function isImageUnderWay(view: View): boolean {
  for (const { state } of view.list(command))
    if (isActive(state) && /^(?:(?:image|diff)\.|content\.heal$)/.test(state.command.type)) return true
  return false
}
