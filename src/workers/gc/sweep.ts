import { command, isActive } from '../../commands/command.ts'
import { content } from '../../commands/content.ts'
import { snapshot, splitSnapshotId } from '../../commands/snapshot.ts'
import type { View } from '../../model/aggregate.ts'
import { type Digest, parseDigest } from '../../model/digest.ts'
import type { Job } from '../../queue/handler.ts'
import type { GcEffects } from './effects.ts'
import { findGarbage, type Garbage } from './mark.ts'

export interface Swept {
  contentCount: number
  snapshotCount: number
  freedBytes: number
}

/**
 * Removes what nothing refers to. Each item is looked at once more just before it goes: what came into use since it was
 * marked stays.
 */
export async function sweep(job: Job<unknown, unknown, GcEffects>): Promise<Swept> {
  const swept: Swept = { contentCount: 0, snapshotCount: 0, freedBytes: 0 }
  for (const item of findGarbage(job.view)) {
    job.signal.throwIfAborted()
    if (!isStillGarbage(job.view, item)) continue
    if (item.kind === 'content') {
      swept.freedBytes += await removeContent(job, item)
      swept.contentCount += 1
    } else {
      swept.freedBytes += await removeSnapshot(job, item)
      swept.snapshotCount += 1
    }
  }
  await removeIngests(job)
  return swept
}

/** Marks again: with few items left it costs little, and says the truth of this instant. */
const isStillGarbage = (view: View, item: Garbage): boolean =>
  findGarbage(view).some(
    ({ kind, namespace, id, version }) =>
      kind === item.kind && namespace === item.namespace && id === item.id && version === item.version,
  )

/** The record first: a pull that begins now finds the blob absent, and fetches it again. */
async function removeContent(job: Job<unknown, unknown, GcEffects>, { namespace, id }: Garbage): Promise<number> {
  const digest = parseDigest(id)
  const state = job.view.get(content, namespace, digest)
  await job.append(content.fact(digest, 'content.deleted', {}, namespace))
  if (isElsewhere(job.view, digest)) return 0
  await job.effects.content.remove(digest)
  return state.status === 'present' ? state.sizeBytes : 0
}

function isElsewhere(view: View, digest: Digest): boolean {
  for (const { id } of view.list(content)) if (id === digest) return true
  return false
}

async function removeSnapshot(job: Job<unknown, unknown, GcEffects>, { namespace, id }: Garbage): Promise<number> {
  const state = job.view.get(snapshot, namespace, id)
  const snapshotter = job.effects.snapshotters.get(splitSnapshotId(id).snapshotter)
  if (state.status === 'absent' || !snapshotter) return 0
  const { sizeBytes } = await snapshotter.usage(state.dir, job.signal)
  if (state.status !== 'removing') await job.append(snapshot.fact(id, 'snapshot.removing', {}, namespace))
  await snapshotter.remove(state.dir, job.signal)
  await job.append(snapshot.fact(id, 'snapshot.removed', {}, namespace))
  return sizeBytes
}

/** Half-fetched blobs are kept for a pull to go on with, while one is under way. */
async function removeIngests({ view, effects, signal }: Job<unknown, unknown, GcEffects>): Promise<void> {
  for (const { state } of view.list(command)) if (isActive(state) && state.command.type.startsWith('image.')) return
  for (const { ref } of await effects.content.ingests()) {
    signal.throwIfAborted()
    await effects.content.removeIngest(ref)
  }
}
