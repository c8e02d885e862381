import { type ImageState, type ImageTarget, image } from '../../commands/image.ts'
import { mapLimited } from '../../model/concurrency.ts'
import type { Digest } from '../../model/digest.ts'
import { PurserError } from '../../model/errors.ts'
import type { Descriptor } from '../../oci/manifest.ts'
import { formatPlatform, hostPlatform, parsePlatform } from '../../oci/platform.ts'
import { parseReference } from '../../oci/reference.ts'
import { commitSnapshots } from './commit-snapshots.ts'
import { discarded } from './discard.ts'
import { definePullHandler } from './effects.ts'
import { fetchLayers } from './fetch-layers.ts'
import { fetchOthers } from './fetch-others.ts'
import { bare, contentFact, layersOf } from './layer.ts'
import { requestCredentials } from './request-credentials.ts'
import { resolveImage } from './resolve.ts'
import { PullSpace } from './space.ts'
import { verified } from './verify.ts'

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
  const credentials = requestCredentials(job, reference)
  const repository = effects.registry.open(reference, credentials)
  // Who comes with credentials of its own may get what others do not.
  const source = `${reference.registry}/${reference.repository}${credentials ? ` as ${job.command.id}` : ''}`
  const progress = effects.progress.begin(job.command.id, 'resolving')
  if (job.command.parentId !== undefined) effects.progress.share(job.command.id, job.command.parentId)
  // Until all that this image needs is recorded as its own.
  using held = new DisposableStack()
  const hold = (digest: Digest): void => void held.use(effects.content.hold(digest))
  try {
    await job.append(image.fact(job.id, 'image.pulling', { platform: formatPlatform(platform) }))
    const documents: Descriptor[] = []
    const parts = { ...effects, repository, hold }
    const resolved = await resolveImage(parts, platform, signal, documents).catch(async (error: unknown) => {
      // What nobody knows of, nobody collects.
      await job.append(...documents.map((each) => contentFact(each, reference)))
      throw error
    })
    const verdict = await verified(job, reference, resolved)
    const chosen = formatPlatform(resolved.config.document.platform)
    await job.append(
      image.fact(job.id, 'image.resolved', { target: bare(resolved.target), platform: chosen }),
      ...documents.map((each) => contentFact(each, reference)),
    )
    const layers = layersOf(resolved.manifest.document.layers, resolved.config.document.diffIds, progress)
    for (const { digest } of layers) hold(digest)
    const isDiscarding = (payload.layers ?? effects.unpackedLayers) === 'discard'
    progress.step = 'fetching'
    using space = await PullSpace.reserve(job, snapshotter, layers)
    using claims = new DisposableStack()
    await using undo = job.undoStack()
    const fetch = async (within: AbortSignal) => {
      await fetchLayers(job, snapshotter, layers, {
        repository,
        source,
        signal: within,
        undo,
        claims,
        space,
        isDiscarding,
      })
      progress.step = 'unpacking'
    }
    const commit = (within: AbortSignal) => commitSnapshots(job, snapshotter, layers, { signal: within, claims, space })
    await mapLimited([fetch, commit], 2, signal, (part, within) => part(within))
    undo.move()
    const others = payload.allPlatforms ? await fetchOthers(job, parts, resolved, progress) : undefined
    const pulled: ImageTarget = {
      target: bare(resolved.target),
      platform: chosen,
      manifest: bare(resolved.manifest.descriptor),
      config: bare(resolved.config.descriptor),
      layers: layers.map(({ descriptor, diffId }) => ({ ...bare(descriptor), diffId })),
      snapshotter: snapshotter.name,
      ...alsoOf(job.state, resolved.target.digest, others?.digests),
    }
    const documentBytes = resolved.fetchedBytes + (others?.fetchedBytes ?? 0)
    const fetchedBytes = layers.reduce((sum, layer) => sum + layer.fetchedBytes, documentBytes)
    const isCached = fetchedBytes === 0 && !layers.some((layer) => layer.isAwaited)
    const durationMs = Math.round(performance.now() - begunAt)
    return {
      facts: [
        image.fact(job.id, 'image.attempted', { attempts: repository.attempts }),
        image.fact(job.id, 'image.pulled', {
          image: pulled,
          labels: payload.labels,
          fetchedBytes,
          cached: isCached,
          durationMs,
        }),
        ...(isDiscarding ? discarded(job, layers) : []),
        ...verdict,
      ],
      result: { name: job.id, digest: pulled.target.digest, fetchedBytes, cached: isCached },
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

/** What was asked for once stays, for as long as the name stands for the same. */
function alsoOf(before: ImageState, digest: Digest, others: Digest[] | undefined): Pick<ImageTarget, 'also'> {
  if (others) return { also: others }
  const isSame = before.status === 'present' && before.target.digest === digest
  return isSame && before.also ? { also: before.also } : {}
}
