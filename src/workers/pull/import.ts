import { image } from '../../commands/image.ts'
import { snapshotId } from '../../commands/snapshot.ts'
import { archivedImages } from '../../layout/archived-images.ts'
import { TarFile } from '../../layout/tar-file.ts'
import { PurserError } from '../../model/errors.ts'
import { chainIdOf } from '../../oci/chain-id.ts'
import { hostPlatform, parsePlatform } from '../../oci/platform.ts'
import { ArchiveReader } from './archive-reader.ts'
import { definePullHandler } from './effects.ts'

/** Every layer is hashed on both sides of its compression before it becomes a blob: an archive is believed in nothing. */
export const importImage = definePullHandler(image, 'image.import', async (job) => {
  const begunAt = performance.now()
  const { effects, payload, signal, view, namespace, id } = job
  const platform = payload.platform === undefined ? hostPlatform() : parsePlatform(payload.platform)
  using upload = await effects.uploads.use(payload.ingest, signal)
  await using archive = await TarFile.open(upload.path, signal)
  const found = (await archivedImages(archive))[payload.entry]
  if (!found) {
    throw new PurserError('not_found', `the archive ${payload.ingest} has no image ${payload.entry}`, {
      field: 'payload.entry',
      remedy: `GET /v1/ingests/${payload.ingest}/images lists them`,
    })
  }
  await job.append(...job.decide())
  using held = new DisposableStack()
  const reader = new ArchiveReader(job, archive, held)
  const { source } = found
  const one = source.kind === 'oci' ? await reader.layout(source, platform) : await reader.docker(source)
  const taken =
    source.kind === 'oci' && payload.allPlatforms
      ? { ...one, also: await reader.others(source, one.manifest.digest) }
      : one
  const isNew = view.get(image, namespace, id).status === 'absent'
  const durationMs = Math.round(performance.now() - begunAt)
  const { readBytes } = reader
  await job.append(image.fact(id, 'image.imported', { image: taken, labels: payload.labels, readBytes, durationMs }))
  if (payload.snapshotter !== undefined) {
    const top = snapshotId(payload.snapshotter, chainIdOf(taken.layers.map((layer) => layer.diffId)))
    try {
      await job.step('unpack', { type: 'snapshot.unpack', subject: top, payload: { image: id } })
    } catch (error) {
      if (isNew && !signal.aborted) await job.append(image.fact(id, 'image.deleted', {}))
      throw error
    }
  }
  return { facts: [], result: { name: id, digest: taken.target.digest, platform: taken.platform, readBytes } }
})
