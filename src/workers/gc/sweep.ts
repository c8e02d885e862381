import { command, isActive } from '../../commands/command.ts'
import { content } from '../../commands/content.ts'
import { childOf, snapshot, splitSnapshotId } from '../../commands/snapshot.ts'
import type { View } from '../../model/aggregate.ts'
import { type Digest, parseDigest } from '../../model/digest.ts'
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
 * Removes what nothing refers to, without any lock: an item goes only if it still has the version that was marked, and
 * whoever comes to rely on an item writes to it (or, as a child of a snapshot, is seen here).
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
  await removeIngests(job)
  return swept
}

/** The record first: a pull that begins now finds the blob absent, and fetches it again. */
async function removeContent(job: GcJob, { namespace, id, version }: Garbage): Promise<number | undefined> {
  const digest = parseDigest(id)
  const state = job.view.get(content, namespace, digest)
  if (!(await job.appendIf(version, content.fact(digest, 'content.deleted', {}, namespace)))) return undefined
  if (isAnywhere(job.view, digest)) return 0
  await job.effects.content.remove(digest)
  return state.status === 'present' ? state.sizeBytes : 0
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
  const { sizeBytes } = await snapshotter.usage(before.dir, job.signal)
  await snapshotter.remove(before.dir, job.signal)
  await job.append(snapshot.fact(id, 'snapshot.removed', {}, namespace))
  return sizeBytes
}

/** Half-fetched blobs are kept for a pull to go on with, while one is under way. */
async function removeIngests({ view, effects, signal }: GcJob): Promise<void> {
  for (const { state } of view.list(command)) if (isActive(state) && state.command.type.startsWith('image.')) return
  for await (const { ref } of effects.content.ingests()) {
    signal.throwIfAborted()
    await effects.content.removeIngest(ref)
  }
}
