import { open } from 'node:fs/promises'
import type { PresentContainer } from '../../../commands/container.ts'
import { parentDirs, snapshot, snapshotId } from '../../../commands/snapshot.ts'
import { createDiff } from '../../../layers/diff/diff.ts'
import { PurserError } from '../../../model/errors.ts'
import type { Job } from '../../../queue/handler.ts'
import { openDiffSource } from '../../../unpack/diff-source.ts'
import type { TaskEffects } from '../effects.ts'
import type { CheckpointFiles } from './checkpoint-files.ts'

/** Writes what a container has beside its image into its checkpoint, as a layer. */
export async function keepLayer(
  {
    view,
    namespace,
    effects,
    signal,
  }: Pick<Job<unknown, unknown, TaskEffects>, 'view' | 'namespace' | 'effects' | 'signal'>,
  { snapshotter: name, snapshotKey }: PresentContainer,
  files: CheckpointFiles,
): Promise<void> {
  const subject = snapshotId(name, snapshotKey)
  const state = view.get(snapshot, namespace, subject)
  const snapshotter = effects.snapshotters.get(name)
  if (snapshotter === undefined || state.status !== 'active') {
    throw new PurserError('failed_precondition', `snapshot ${subject} is ${state.status}`, {
      remedy: 'purser snapshot ls',
    })
  }
  const parents = parentDirs(view, namespace, name, state.parent)
  await using source = await openDiffSource(snapshotter, state, parents, effects.runDir, signal)
  await using file = await open(files.newLayer, 'w', 0o600)
  await createDiff({ source: source.source, compression: 'none' }, (chunk) => file.appendFile(chunk), signal)
}
