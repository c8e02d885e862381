import { container } from '../../../commands/container.ts'
import { parentDirs, snapshot, snapshotId } from '../../../commands/snapshot.ts'
import { PurserError } from '../../../model/errors.ts'
import { applyLayer } from '../../../unpack/unpack-layers.ts'
import { defineTaskHandler } from '../effects.ts'
import type { ArchiveManifest } from './archive.ts'
import { CheckpointFiles, LAYER } from './checkpoint-files.ts'
import { requireCheckpointable } from './checkpointable.ts'
import { readArchive } from './read-archive.ts'
import { requireLike } from './restore.ts'

/**
 * Takes a checkpoint out of an archive, for a container that has not been started: what it is made of, its record says. Done
 * again after a restart, it writes the same files once more.
 */
export const importCheckpoint = defineTaskHandler(container, 'container.import-checkpoint', async (job) => {
  const { id, namespace, payload, effects, view, signal } = job
  job.decide()
  const made = view.get(container, namespace, id)
  if (made.status === 'absent')
    throw new PurserError('not_found', `container ${id} is gone`, { remedy: 'purser ps -a' })
  const { name, ingest, ...mode } = payload
  requireCheckpointable(id, made, { name, ...mode, processes: 'go-on', files: 'leave' })
  const { version } = await effects.shims.reports.requireCheckpoints(made.runtime)
  const subject = snapshotId(made.snapshotter, made.snapshotKey)
  const state = view.get(snapshot, namespace, subject)
  const snapshotter = effects.snapshotters.get(made.snapshotter)
  if (snapshotter === undefined || state.status !== 'active') {
    throw new PurserError('failed_precondition', `snapshot ${subject} is ${state.status}`, {
      remedy: 'make another container',
    })
  }

  using upload = await effects.uploads.use(ingest, signal)
  const files = new CheckpointFiles(effects.paths.checkpoints(namespace, id), name)
  await using undo = job.undoStack()
  undo.defer(() => files.remove())
  await files.begin()
  const check = (manifest: ArchiveManifest) => {
    requireLike(`the checkpoint in the archive`, manifest, {
      runtime: made.runtime,
      criu: version,
      architecture: effects.architecture,
    })
    if (manifest.imageConfig === made.config) return
    throw new PurserError(
      'failed_precondition',
      `the checkpoint in the archive is of image ${manifest.imageConfig}, and container ${id} of ${made.config}`,
      { remedy: 'name the image that it was made of' },
    )
  }
  const manifest = await readArchive(upload.path, files.part, effects.signatures, check, signal)
  const layer = manifest.files.find(({ name: file }) => file === LAYER)
  if (layer === undefined) throw new PurserError('data_loss', 'the archive has no files of its container')
  const source = { digest: layer.digest, sizeBytes: layer.sizeBytes, path: files.newLayer }
  const unpacker = { pool: effects.layers, snapshotter, runDir: effects.runDir }
  const parents = parentDirs(view, namespace, made.snapshotter, state.parent)
  const { digest, diffId } = await applyLayer(unpacker, source, state.dir, parents, 'active', signal)
  const { runtime } = made
  const { criu, architecture } = manifest
  const record = { name, mode, runtime, criu, architecture, sizeBytes: await files.complete(), files: 'keep' as const }
  undo.move()
  return {
    facts: [
      snapshot.fact(subject, 'snapshot.applied', { digest, diffId }),
      container.fact(id, 'container.checkpoint-kept', record),
    ],
    result: { name },
  }
})
