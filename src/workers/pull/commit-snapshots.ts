import { dirOf, parentDirs, snapshot, snapshotId } from '../../commands/snapshot.ts'
import { whileWanted } from '../../model/concurrency.ts'
import { uuidv7 } from '../../model/ids.ts'
import type { Job } from '../../queue/handler.ts'
import type { Snapshotter } from '../../snapshotters/snapshotter.ts'
import { extractOnParents, joinLayer } from '../../unpack/unpack-layers.ts'
import type { PullEffects } from './effects.ts'
import type { Layer } from './layer.ts'
import type { PullSpace } from './space.ts'

export type PullJob = Job<unknown, unknown, PullEffects>

export interface WithinPull {
  signal: AbortSignal
  /** Given up when the pull ends, however it ends. */
  claims: DisposableStack
  space: PullSpace
}

/** Bottom first, each as soon as it can be: it is made to fit those below, then its snapshot is recorded. */
export async function commitSnapshots(
  job: PullJob,
  snapshotter: Snapshotter,
  layers: readonly Layer[],
  within: WithinPull,
): Promise<void> {
  for (const [index, layer] of layers.entries()) {
    await whileWanted(layer.ready.promise, within.signal)
    const parent = layers[index - 1]?.chainId
    const { unpacking } = layer
    const claim = unpacking?.claim ?? (await claimUnpacking(job, snapshotter, layer, within))
    // Somebody else's, or an earlier pull's, unless it has just been collected.
    if (await relyOnSnapshot(job, snapshotId(snapshotter.name, layer.chainId), parent)) {
      if (unpacking) await snapshotter.remove(unpacking.dir, within.signal)
    } else {
      await commitSnapshot(job, snapshotter, layer, parent, within.signal)
    }
    within.space.unpacked(layer)
    delete layer.unpacking
    claim?.[Symbol.dispose]()
  }
}

/**
 * The right to make the snapshot of a layer.
 *
 * @returns undefined when it is there
 */
export async function claimUnpacking(
  { view, namespace, effects }: PullJob,
  snapshotter: Snapshotter,
  layer: Layer,
  { signal, claims }: Pick<WithinPull, 'signal' | 'claims'>,
): Promise<Disposable | undefined> {
  const id = snapshotId(snapshotter.name, layer.chainId)
  const key = `${namespace}/${id}`
  for (;;) {
    if (view.get(snapshot, namespace, id).status === 'committed') return undefined
    const claim = effects.unpacks.claim(key)
    if (claim) return claims.use(claim)
    await whileWanted(effects.unpacks.ended(key), signal)
  }
}

async function commitSnapshot(
  job: PullJob,
  snapshotter: Snapshotter,
  layer: Layer,
  parent: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  const { effects, view, namespace } = job
  const unpacker = { pool: effects.layers, snapshotter, runDir: effects.runDir }
  const parents = parentDirs(view, namespace, snapshotter.name, parent)
  const path = effects.content.path(layer.digest)
  const { dir = dirOf(uuidv7()), alone } = layer.unpacking ?? {}
  if (alone) await joinLayer(unpacker, layer, dir, alone, parents, path, signal)
  else await extractOnParents(unpacker, { ...layer, path }, dir, parents, signal)
  const id = snapshotId(snapshotter.name, layer.chainId)
  await job.append(snapshot.fact(id, 'snapshot.committed', { dir, labels: {}, parent }))
}

/** Writes to a snapshot that is there: it stays ours even if the image it came with is removed. @returns whether it is there */
async function relyOnSnapshot({ view, namespace, appendIf }: PullJob, id: string, parent?: string): Promise<boolean> {
  for (;;) {
    const state = view.get(snapshot, namespace, id)
    if (state.status !== 'committed') return false
    const { dir, labels } = state
    const claim = snapshot.fact(id, 'snapshot.committed', { dir, labels, parent })
    if (await appendIf(view.version(snapshot, namespace, id), claim)) return true
  }
}
