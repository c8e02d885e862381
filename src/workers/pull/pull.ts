import { content, sourceLabels } from '../../commands/content.ts'
import { type ImageTarget, image } from '../../commands/image.ts'
import { dirOf, parentDirs, snapshot, snapshotId } from '../../commands/snapshot.ts'
import { fetchBlob } from '../../content/fetch.ts'
import { AvailableBytes } from '../../layers/available-bytes.ts'
import type { LayerResult } from '../../layers/protocol.ts'
import { mapLimited } from '../../model/concurrency.ts'
import type { Digest } from '../../model/digest.ts'
import { PurserError } from '../../model/errors.ts'
import { uuidv7 } from '../../model/ids.ts'
import { chainIds } from '../../oci/chain-id.ts'
import type { Descriptor } from '../../oci/manifest.ts'
import { formatPlatform, hostPlatform, parsePlatform } from '../../oci/platform.ts'
import { type ImageReference, parseReference } from '../../oci/reference.ts'
import type { CommandProgress, LayerProgress } from '../../projections/progress.ts'
import type { Job } from '../../queue/handler.ts'
import type { Repository } from '../../registry/client.ts'
import type { Snapshotter } from '../../snapshotters/snapshotter.ts'
import { extractAlone, extractOnParents, joinLayer, type LayerToUnpack } from '../../unpack/unpack-layers.ts'
import { definePullHandler, type PullEffects } from './effects.ts'
import { resolveImage } from './resolve.ts'

const LAYERS_AT_ONCE = 6

type PullJob = Job<unknown, unknown, PullEffects>

interface Layer extends LayerToUnpack {
  descriptor: Descriptor
  chainId: string
  progress: LayerProgress
  /** Where it is extracted to, and what that showed; undefined when its snapshot was there. */
  extracted?: { dir: string; alone: LayerResult | undefined }
  fetchedBytes: number
}

/** Resolves, fetches what is missing, unpacks while fetching; in the log nothing that is not whole. */
export const pullImage = definePullHandler(image, 'image.pull', async (job) => {
  const begunAt = performance.now()
  const { effects, payload, signal } = job
  const snapshotter = effects.snapshotters.get(payload.snapshotter)
  if (!snapshotter) {
    throw new PurserError('invalid_argument', `there is no snapshotter ${payload.snapshotter}`, {
      field: 'payload.snapshotter',
      remedy: `use one of ${[...effects.snapshotters.keys()].join(', ')}`,
    })
  }
  const reference = parseReference(job.id)
  const platform = payload.platform === undefined ? hostPlatform() : parsePlatform(payload.platform)
  const progress = effects.progress.begin(job.command.id, 'resolving')
  if (job.command.parentId !== undefined) effects.progress.share(job.command.id, job.command.parentId)
  // Until all that this image needs is recorded as its own.
  using held = new DisposableStack()
  const repository = effects.registry.open(reference)
  const hold = (digest: Digest): void => void held.use(effects.content.hold(digest))
  try {
    await job.append(image.fact(job.id, 'image.pulling', { platform: formatPlatform(platform) }))
    const documents: Descriptor[] = []
    const resolved = await resolveImage({ ...effects, repository, hold }, platform, signal, documents).catch(
      async (error: unknown) => {
        // What nobody knows of, nobody collects.
        await job.append(...documents.map((each) => contentFact(each, reference)))
        throw error
      },
    )
    const chosen = formatPlatform(resolved.config.document.platform)
    await job.append(
      image.fact(job.id, 'image.resolved', { target: bare(resolved.target), platform: chosen }),
      ...documents.map((each) => contentFact(each, reference)),
    )
    const layers = layersOf(resolved.manifest.document.layers, resolved.config.document.diffIds, progress)
    for (const { digest } of layers) hold(digest)
    progress.step = 'fetching'
    await using undo = job.undoStack()
    await fetchLayers(job, repository, snapshotter, layers, undo)
    progress.step = 'unpacking'
    await commitSnapshots(job, snapshotter, layers)
    undo.move()
    const pulled: ImageTarget = {
      target: bare(resolved.target),
      platform: chosen,
      manifest: bare(resolved.manifest.descriptor),
      config: bare(resolved.config.descriptor),
      layers: layers.map(({ descriptor, diffId }) => ({ ...bare(descriptor), diffId })),
      snapshotter: snapshotter.name,
    }
    const fetchedBytes = layers.reduce((sum, layer) => sum + layer.fetchedBytes, resolved.fetchedBytes)
    const durationMs = Math.round(performance.now() - begunAt)
    return {
      facts: [
        image.fact(job.id, 'image.attempted', { attempts: repository.attempts }),
        image.fact(job.id, 'image.pulled', {
          image: pulled,
          labels: payload.labels,
          fetchedBytes,
          cached: fetchedBytes === 0,
          durationMs,
        }),
      ],
      result: { name: job.id, digest: pulled.target.digest, fetchedBytes, cached: fetchedBytes === 0 },
    }
  } catch (error) {
    const { attempts } = repository
    // An attempt that was overtaken cannot write any more: the error that it ended with counts.
    if (attempts.length > 0) await job.append(image.fact(job.id, 'image.attempted', { attempts })).catch(() => {})
    throw error
  } finally {
    effects.progress.end(job.command.id)
  }
})

const bare = ({ mediaType, digest, sizeBytes }: Descriptor) => ({ mediaType, digest, sizeBytes })

/** Also for what is there already: that it is relied on keeps collection away from it. */
const contentFact = ({ digest, sizeBytes, mediaType }: Descriptor, source: ImageReference) =>
  content.fact(digest, 'content.committed', { sizeBytes, mediaType, labels: sourceLabels(source) })

function layersOf(
  descriptors: readonly Descriptor[],
  diffIds: readonly Layer['diffId'][],
  progress: CommandProgress,
): Layer[] {
  const chain = chainIds(diffIds)
  return descriptors.flatMap((descriptor, index) => {
    const { digest, sizeBytes } = descriptor
    const [diffId, chainId] = [diffIds[index], chain[index]]
    if (diffId === undefined || chainId === undefined) return []
    const shown: LayerProgress = { digest, sizeBytes, fetchedBytes: 0, phase: 'waiting' }
    progress.layers.push(shown)
    return [{ descriptor, digest, sizeBytes, diffId, chainId, path: '', progress: shown, fetchedBytes: 0 }]
  })
}

async function fetchLayers(
  job: PullJob,
  repository: Repository,
  snapshotter: Snapshotter,
  layers: Layer[],
  undo: AsyncDisposableStack,
) {
  const { placement } = snapshotter.layerTarget('0')
  await mapLimited(layers, LAYERS_AT_ONCE, job.signal, async (layer, signal, index) => {
    const within: PullJob = Object.assign(Object.create(job), { signal })
    const isUnpacked = () =>
      job.view.get(snapshot, job.namespace, snapshotId(snapshotter.name, layer.chainId)).status === 'committed'
    await job.effects.transfers.run(layer.digest, signal, async () => {
      const dir = isUnpacked() || placement === 'on-parents' ? undefined : dirOf(uuidv7())
      if (dir !== undefined) undo.defer(() => snapshotter.remove(dir, AbortSignal.timeout(60_000)))
      const alone = await fetchLayer(within, repository, snapshotter, layer, dir, index === 0 ? 'bottom' : 'above')
      if (dir !== undefined) layer.extracted = { dir, alone }
      await job.append(contentFact(layer.descriptor, repository.ref))
    })
    layer.path = job.effects.content.path(layer.digest)
    layer.progress.phase = layer.fetchedBytes > 0 ? 'done' : 'present'
    job.effects.progress.touch(job.command.id)
  })
}

/** One pass: what arrives is written down, and a thread follows the file, hashes, inflates, hashes, extracts. */
async function fetchLayer(
  job: PullJob,
  repository: Repository,
  snapshotter: Snapshotter,
  layer: Layer,
  dir: string | undefined,
  position: 'bottom' | 'above',
): Promise<LayerResult | undefined> {
  const { content: store, layers: pool, progress, runDir } = job.effects
  const unpacker = { pool, snapshotter, runDir }
  const stored = await store.stat(layer.digest)
  if (stored) {
    if (dir === undefined) return undefined
    layer.progress.phase = 'extracting'
    return await extractAlone(unpacker, { ...layer, path: store.path(layer.digest) }, dir, position, job.signal)
  }
  layer.progress.phase = 'fetching'
  const available = new AvailableBytes()
  let extracting: Promise<LayerResult> | undefined
  const stop = new AbortController()
  const signal = AbortSignal.any([job.signal, stop.signal])
  let before = -1
  const onProgress = (totalBytes: number, path: string) => {
    if (before < 0) before = totalBytes
    layer.progress.fetchedBytes = totalBytes
    progress.touch(job.command.id)
    available.advance(totalBytes)
    if (dir === undefined || extracting) return
    extracting = extractAlone(unpacker, { ...layer, path, available }, dir, position, signal)
    // Wrong bytes end the download too.
    extracting.catch((error) => stop.abort(error))
  }
  const open = (offset: number, within: AbortSignal) => repository.openBlob(layer.descriptor, { offset }, within)
  try {
    const { digest, sizeBytes } = layer
    const hash = dir === undefined ? 'here' : 'elsewhere'
    await using ingest = await fetchBlob({ store, digest, sizeBytes, open, signal, hash, onProgress })
    layer.fetchedBytes = sizeBytes - Math.max(0, before)
    layer.progress.phase = 'extracting'
    const alone = await extracting
    await ingest.commit(alone === undefined ? {} : { verifiedDigest: alone.digest })
    return alone
  } catch (error) {
    available.fail(error)
    await extracting?.catch(() => {})
    if (stop.signal.aborted && !job.signal.aborted) {
      await store.removeIngest(`layer-${layer.digest}`)
      throw inLayer(layer.digest, stop.signal.reason)
    }
    throw error
  }
}

/** Says which layer it is that cannot be read. */
function inLayer(digest: string, reason: unknown): unknown {
  if (!(reason instanceof PurserError) || reason.message.includes(digest)) return reason
  const { code, message, remedy } = reason
  return new PurserError(code, `${digest}: ${message}`, { cause: reason, ...(remedy === undefined ? {} : { remedy }) })
}

/** Bottom first: each layer is made to fit those below, then its snapshot is recorded. */
async function commitSnapshots(job: PullJob, snapshotter: Snapshotter, layers: Layer[]): Promise<void> {
  const { effects, view, namespace, signal } = job
  const unpacker = { pool: effects.layers, snapshotter, runDir: effects.runDir }
  for (const [index, layer] of layers.entries()) {
    const parent = layers[index - 1]?.chainId
    const id = snapshotId(snapshotter.name, layer.chainId)
    if (await claimSnapshot(job, id, parent)) {
      if (layer.extracted) await snapshotter.remove(layer.extracted.dir, signal)
      continue
    }
    const parents = parentDirs(view, namespace, snapshotter.name, parent)
    const dir = layer.extracted?.dir ?? dirOf(uuidv7())
    const complete = effects.content.path(layer.digest)
    const alone = layer.extracted?.alone
    if (alone) await joinLayer(unpacker, layer, dir, alone, parents, complete, signal)
    else await extractOnParents(unpacker, { ...layer, path: complete }, dir, parents, signal)
    await job.append(snapshot.fact(id, 'snapshot.committed', { dir, labels: {}, parent }))
  }
}

/** Writes to a snapshot that is there: it stays ours even if the image it came with is removed. @returns whether it is there */
async function claimSnapshot({ view, namespace, appendIf }: PullJob, id: string, parent?: string): Promise<boolean> {
  for (;;) {
    const state = view.get(snapshot, namespace, id)
    if (state.status !== 'committed') return false
    const { dir, labels } = state
    const claim = snapshot.fact(id, 'snapshot.committed', { dir, labels, parent })
    if (await appendIf(view.version(snapshot, namespace, id), claim)) return true
  }
}
