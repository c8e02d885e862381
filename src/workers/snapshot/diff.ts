import { content } from '../../commands/content.ts'
import { parentDirs, type SnapshotState, snapshot } from '../../commands/snapshot.ts'
import type { ContentStore } from '../../content/store.ts'
import { createDiff } from '../../layers/diff/diff.ts'
import type { View } from '../../model/aggregate.ts'
import type { Digest } from '../../model/digest.ts'
import { PurserError } from '../../model/errors.ts'
import { layerTypeOf } from '../../oci/committed-image.ts'
import type { Descriptor } from '../../oci/manifest.ts'
import type { Snapshotter } from '../../snapshotters/snapshotter.ts'
import { openDiffSource } from '../../unpack/diff-source.ts'
import { applyLayer } from '../../unpack/unpack-layers.ts'
import { defineSnapshotHandler, type SnapshotEffects } from './effects.ts'
import { snapshotterOf } from './snapshotter-of.ts'

export type StoredSnapshot = Extract<SnapshotState, { status: 'active' | 'view' | 'committed' }>

export interface WrittenLayer {
  layer: Descriptor
  diffId: Digest
}

export interface LayerToWrite {
  snapshotter: Snapshotter
  state: StoredSnapshot
  /** Directories of its parents, topmost first. */
  parents: readonly string[]
  compression: 'none' | 'gzip' | 'zstd'
  /** Names the ingest. */
  ref: string
}

/**
 * Writes what a snapshot has beside its parent into the content store, as a layer.
 *
 * @param hold keeps the blob from collection until it is recorded
 */
export async function writeLayer(
  { content: store, runDir }: Pick<SnapshotEffects, 'content' | 'runDir'>,
  { snapshotter, state, parents, compression, ref }: LayerToWrite,
  hold: (digest: Digest) => void,
  signal: AbortSignal,
): Promise<WrittenLayer> {
  await using source = await openDiffSource(snapshotter, state, parents, runDir, signal)
  const ingest = await store.ingest(ref, { hash: 'elsewhere' })
  try {
    await ingest.truncate(0) // What an earlier attempt has left.
    const made = await createDiff({ source: source.source, compression }, (chunk) => ingest.write(chunk), signal)
    const { digest, diffId, sizeBytes } = made
    hold(digest)
    await ingest.commit({ verifiedDigest: digest })
    return { layer: { mediaType: layerTypeOf(compression), digest, sizeBytes }, diffId }
  } finally {
    await ingest.abort()
  }
}

/** The snapshot as one that can be read. @throws PurserError failed_precondition */
export function readable(state: SnapshotState, id: string): StoredSnapshot {
  if (state.status === 'active' || state.status === 'view' || state.status === 'committed') return state
  throw new PurserError('failed_precondition', `snapshot ${id} is ${state.status}`, { remedy: 'purser snapshot ls' })
}

export const createDiffOf = defineSnapshotHandler(snapshot, 'diff.create', async (job) => {
  const { effects, view, namespace, payload, signal } = job
  job.decide()
  const { snapshotter } = snapshotterOf(effects.snapshotters, job.id)
  const state = readable(job.state, job.id)
  using held = new DisposableStack()
  const written = await writeLayer(
    effects,
    {
      snapshotter,
      state,
      parents: parentDirs(view, namespace, snapshotter.name, state.parent),
      compression: payload.compression,
      ref: `diff-${job.command.id}`,
    },
    (digest) => void held.use(effects.content.hold(digest)),
    signal,
  )
  const { mediaType, digest, sizeBytes } = written.layer
  // Before the hold ends; the outcome follows.
  await job.append(content.fact(digest, 'content.committed', { mediaType, sizeBytes, labels: payload.labels }))
  return { facts: [], result: { mediaType, digest, sizeBytes, diffId: written.diffId } }
})

export const applyDiff = defineSnapshotHandler(snapshot, 'diff.apply', async (job) => {
  const { effects, view, namespace, payload, signal } = job
  job.decide()
  const { snapshotter } = snapshotterOf(effects.snapshotters, job.id)
  const state = readable(job.state, job.id)
  const { digest, diffId } = payload
  using _held = effects.content.hold(digest)
  const { sizeBytes } = await storedIn(effects.content, view, namespace, digest)
  const layer = { digest, sizeBytes, path: effects.content.path(digest), diffId }
  const parents = parentDirs(view, namespace, snapshotter.name, state.parent)
  const unpacker = { pool: effects.layers, snapshotter, runDir: effects.runDir }
  const applied = await applyLayer(unpacker, layer, state.dir, parents, 'active', signal)
  return {
    facts: [snapshot.fact(job.id, 'snapshot.applied', { digest, diffId: applied.diffId })],
    result: { diffId: applied.diffId, entries: applied.entries },
  }
})

/** A blob of the namespace. @throws PurserError not_found */
export async function storedIn(store: ContentStore, view: View, namespace: string, digest: Digest) {
  const record = view.get(content, namespace, digest)
  const stored = record.status === 'present' ? await store.stat(digest) : undefined
  if (stored) return stored
  throw new PurserError('not_found', `content ${digest} is not in namespace ${namespace}`, {
    remedy: 'pull the image that it is a part of',
  })
}
