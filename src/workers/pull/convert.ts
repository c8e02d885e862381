import { content } from '../../commands/content.ts'
import { type ImageState, type ImageTarget, image } from '../../commands/image.ts'
import { recompress } from '../../layers/recompress.ts'
import { mapLimited } from '../../model/concurrency.ts'
import { digestOf } from '../../model/digest.ts'
import { PurserError } from '../../model/errors.ts'
import { parseManifestDocument } from '../../oci/manifest.ts'
import { layerFormat, MEDIA_TYPES } from '../../oci/media-types.ts'
import type { Job } from '../../queue/handler.ts'
import { DOCUMENT_BYTES_MAX } from '../../registry/client.ts'
import { definePullHandler, type PullEffects } from './effects.ts'

type Layer = ImageTarget['layers'][number]

const ZSTD_LAYER = 'application/vnd.oci.image.layer.v1.tar+zstd'
/** Each has a thread, besides those that unpack. */
const LAYERS_AT_ONCE = 2

/** The same configuration and content under another manifest: containers do not tell the difference. */
export const convertImage = definePullHandler(image, 'image.convert', async (job) => {
  const begunAt = performance.now()
  const { effects, payload, view, namespace, signal, id } = job
  const intent = job.decide()
  const source: ImageState = view.get(image, namespace, payload.source)
  if (source.status === 'absent') throw new PurserError('internal', 'what was decided has changed')
  await job.append(...intent)
  using held = new DisposableStack()
  for (const { digest } of [source.manifest, source.config, ...source.layers]) held.use(effects.content.hold(digest))

  const progress = effects.progress.begin(job.command.id, 'converting')
  try {
    const layers = await mapLimited(source.layers, LAYERS_AT_ONCE, signal, (layer, within) =>
      convertLayer(job, layer, payload.level, held, within),
    )
    progress.step = 'naming'
    const bytes = await effects.content.read(source.manifest.digest, { maxBytes: DOCUMENT_BYTES_MAX })
    const before = parseManifestDocument(bytes, source.manifest.mediaType)
    const described = { ...source.config, mediaType: MEDIA_TYPES.ociConfig }
    const written = ({ mediaType, digest, sizeBytes }: Omit<Layer, 'diffId'>) => ({
      mediaType,
      digest,
      size: sizeBytes,
    })
    const document = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MEDIA_TYPES.ociManifest,
        config: written(described),
        layers: layers.map(written),
        ...(Object.keys(before.annotations).length > 0 ? { annotations: before.annotations } : {}),
      }),
    )
    const manifest = { mediaType: MEDIA_TYPES.ociManifest, digest: digestOf(document), sizeBytes: document.length }
    held.use(effects.content.hold(manifest.digest))
    await effects.content.writeDocument(document, manifest.digest)
    const target: ImageTarget = {
      target: manifest,
      platform: source.platform,
      manifest,
      config: described,
      layers,
      ...(source.snapshotter === undefined ? {} : { snapshotter: source.snapshotter }),
    }
    const sum = (all: readonly Layer[]) => all.reduce((total, { sizeBytes }) => total + sizeBytes, 0)
    const sizes = { sourceBytes: sum(source.layers), bytes: sum(layers) }
    const facts = [manifest, described, ...layers].map(({ digest, sizeBytes, mediaType }) =>
      content.fact(digest, 'content.committed', { sizeBytes, mediaType, labels: {} }),
    )
    const converted = {
      source: payload.source,
      image: target,
      labels: {},
      compression: payload.compression,
      ...sizes,
      durationMs: Math.round(performance.now() - begunAt),
    }
    return {
      facts: [...facts, image.fact(id, 'image.converted', converted)],
      result: { name: id, digest: manifest.digest, ...sizes },
    }
  } finally {
    effects.progress.end(job.command.id)
  }
})

async function convertLayer(
  { effects, command }: Job<unknown, unknown, PullEffects>,
  layer: Layer,
  level: number,
  held: DisposableStack,
  signal: AbortSignal,
): Promise<Layer> {
  if (layerFormat(layer.mediaType).compression === 'zstd') return layer
  const { content: store } = effects
  const ref = `convert-${command.id}-${layer.digest}`
  // The thread writes to the ingest's file; opened anew, the ingest has what lies there.
  const begun = await store.ingest(ref, { hash: 'elsewhere' })
  const { path } = begun
  await begun.truncate(0)
  await begun.close()
  const made = await recompress({ from: store.path(layer.digest), to: path, level }, signal).catch(async (error) => {
    await store.removeIngest(ref)
    throw error
  })
  if (made.diffId !== layer.diffId) {
    await store.removeIngest(ref)
    throw new PurserError('data_loss', `layer ${layer.digest} holds ${made.diffId}, not ${layer.diffId}`, {
      remedy: `purser image check --heal, then try again`,
    })
  }
  held.use(store.hold(made.digest))
  await using ingest = await store.ingest(ref, { hash: 'elsewhere', digest: made.digest, sizeBytes: made.sizeBytes })
  await ingest.commit({ verifiedDigest: made.digest })
  return { mediaType: ZSTD_LAYER, digest: made.digest, sizeBytes: made.sizeBytes, diffId: layer.diffId }
}
