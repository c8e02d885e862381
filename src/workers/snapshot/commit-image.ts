import { container } from '../../commands/container.ts'
import { content } from '../../commands/content.ts'
import { type ImageTarget, image } from '../../commands/image.ts'
import { parentDirs, snapshot, snapshotId } from '../../commands/snapshot.ts'
import { task } from '../../commands/task.ts'
import { type Digest, digestOf } from '../../model/digest.ts'
import { errorCodeOf, PurserError } from '../../model/errors.ts'
import { committedConfig, committedManifest } from '../../oci/committed-image.ts'
import { parseImageConfig } from '../../oci/image-config.ts'
import { type Descriptor, type ImageManifest, parseManifestDocument } from '../../oci/manifest.ts'
import { MEDIA_TYPES } from '../../oci/media-types.ts'
import { formatPlatform } from '../../oci/platform.ts'
import type { Job } from '../../queue/handler.ts'
import { readable, storedIn, writeLayer } from './diff.ts'
import { defineSnapshotHandler, type SnapshotEffects } from './effects.ts'
import { snapshotterOf } from './snapshotter-of.ts'

const DOCUMENT_BYTES_MAX = 4 * 1024 * 1024
const RESUME_MS = 60_000

type CommitJob = Job<unknown, { container: string; running: 'pause' | 'leave' }, SnapshotEffects>

/**
 * An image out of a container: the layers and the configuration of its image, and a layer of what it changed. What the
 * container was started with (command, variables) is not taken over: there may be secrets in it.
 */
export const commitImage = defineSnapshotHandler(image, 'image.commit', async (job) => {
  const { effects, view, namespace, payload, signal } = job
  job.decide()
  const made = view.get(container, namespace, payload.container)
  if (made.status !== 'present') {
    throw new PurserError('not_found', `container ${payload.container} is not in namespace ${namespace}`, {
      remedy: 'purser ps -a lists what there is',
    })
  }
  using held = new DisposableStack()
  const hold = (digest: Digest) => void held.use(effects.content.hold(digest))
  const base = await readBase(job, made, hold)

  const subject = snapshotId(made.snapshotter, made.snapshotKey)
  const { snapshotter } = snapshotterOf(effects.snapshotters, subject)
  const state = readable(view.get(snapshot, namespace, subject), subject)
  const parents = parentDirs(view, namespace, snapshotter.name, state.parent)
  const resume = await pause(job)
  const written = await writeLayer(
    effects,
    { snapshotter, state, parents, compression: payload.compression, ref: `commit-${job.command.id}` },
    hold,
    signal,
  ).finally(resume)

  const { author, message: comment, changes } = payload
  const created = job.command.issuedAt
  const createdBy = `purser commit ${payload.container}`
  const store = async (bytes: Buffer, mediaType: string): Promise<Descriptor> => {
    const digest = digestOf(bytes)
    hold(digest)
    await effects.content.writeDocument(bytes, digest)
    return { mediaType, digest, sizeBytes: bytes.length }
  }
  const configBytes = committedConfig(base.config, {
    created,
    createdBy,
    author,
    comment,
    diffId: written.diffId,
    changes,
  })
  const config = await store(configBytes, MEDIA_TYPES.ociConfig)
  const manifestBytes = committedManifest(config, [...base.manifest.layers, written.layer])
  const manifest = await store(manifestBytes, MEDIA_TYPES.ociManifest)
  const { platform, diffIds } = parseImageConfig(configBytes)
  const parsed = parseManifestDocument(manifestBytes, MEDIA_TYPES.ociManifest)
  const layers = parsed.kind === 'manifest' ? parsed.layers : []
  const target: ImageTarget = {
    target: bare(manifest),
    platform: formatPlatform(platform),
    manifest: bare(manifest),
    config: bare(config),
    layers: layers.flatMap((layer, at) => {
      const diffId = diffIds[at]
      return diffId === undefined ? [] : [{ ...bare(layer), diffId }]
    }),
  }
  // What the image relies on, also what was there: while this runs it is in use.
  const facts = [manifest, config, ...layers].map((each) => {
    const { digest, sizeBytes, mediaType } = each
    return content.fact(digest, 'content.committed', { sizeBytes, mediaType, labels: {} })
  })
  const committed = image.fact(job.id, 'image.committed', {
    container: payload.container,
    image: target,
    labels: payload.labels,
  })
  await job.append(...facts, committed)
  return { facts: [], result: { name: job.id, digest: manifest.digest, layer: written.layer.digest } }
})

const bare = ({ mediaType, digest, sizeBytes }: Descriptor) => ({ mediaType, digest, sizeBytes })

/** The documents of the container's image, whose layers must be there too. */
async function readBase(
  { effects, view, namespace }: Pick<CommitJob, 'effects' | 'view' | 'namespace'>,
  { manifest, config, image: name }: { manifest: Digest; config: Digest; image: string },
  hold: (digest: Digest) => void,
): Promise<{ manifest: ImageManifest; config: Buffer }> {
  const read = (digest: Digest) => effects.content.read(digest, { maxBytes: DOCUMENT_BYTES_MAX })
  for (const digest of [manifest, config]) hold(digest)
  const document = parseManifestDocument(await read(manifest))
  if (document.kind !== 'manifest') throw new PurserError('internal', `${manifest} is no manifest`)
  for (const { digest } of document.layers) {
    hold(digest)
    await storedIn(effects.content, view, namespace, digest).catch((cause: unknown) => {
      if (errorCodeOf(cause) !== 'not_found') throw cause
      throw new PurserError('failed_precondition', `layer ${digest} of the container's image is not here any more`, {
        cause,
        remedy: `purser pull ${name}`,
      })
    })
  }
  return { manifest: document, config: await read(config) }
}

/** Freezes the container's task where it runs. @returns thaws it, if it was this that froze it */
async function pause(job: CommitJob): Promise<() => Promise<void>> {
  const { view, namespace, payload, logger } = job
  const { status } = view.get(task, namespace, payload.container)
  const isOurs = status === 'paused' && job.attempt > 1
  if (payload.running === 'leave' || (status !== 'running' && !isOurs)) return async () => {}
  try {
    // Begun anew, this is the step that an earlier attempt took.
    await job.step('pause', { type: 'task.pause', subject: payload.container })
  } catch (error) {
    // It has just ended, or somebody else has paused it.
    if (errorCodeOf(error) === 'failed_precondition' || errorCodeOf(error) === 'not_found') return async () => {}
    throw error
  }
  return async () => {
    const within = AbortSignal.timeout(RESUME_MS)
    await job.step('resume', { type: 'task.resume', subject: payload.container }, within).catch((err: unknown) => {
      logger.warn({ err, container: payload.container }, 'a container that was paused to be committed was not resumed')
    })
  }
}
