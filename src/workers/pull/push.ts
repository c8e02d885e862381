import { createReadStream } from 'node:fs'
import { content, sourcesOf } from '../../commands/content.ts'
import { image } from '../../commands/image.ts'
import { mapLimited } from '../../model/concurrency.ts'
import { PurserError } from '../../model/errors.ts'
import type { Descriptor } from '../../oci/manifest.ts'
import { parsePlatform } from '../../oci/platform.ts'
import { type ImageReference, parseReference } from '../../oci/reference.ts'
import type { LayerProgress } from '../../projections/progress.ts'
import type { Job } from '../../queue/handler.ts'
import { type Pushed, Uploader } from '../../registry/upload.ts'
import { definePullHandler, type PullEffects } from './effects.ts'
import { contentFact } from './layer.ts'
import { blobsOf, documentsOf, manifestsOf, presentOf } from './present.ts'
import { requestCredentials } from './request-credentials.ts'

const BLOBS_AT_ONCE = 4
const READ_BYTES = 256 * 1024
const PHASES = { present: 'known', mounted: 'mounted', uploaded: 'sent' } as const satisfies Record<Pushed, string>

/** Blobs first, then what names them, the name itself last: at the registry there is never half an image. */
export const pushImage = definePullHandler(image, 'image.push', async (job) => {
  const begunAt = performance.now()
  const { effects, payload, signal, command } = job
  const facts = job.decide()
  const { state } = job
  if (state.status === 'absent') throw new PurserError('internal', 'what was decided has changed')
  const to = parseReference(payload.to ?? job.id)
  const platform = payload.platform === undefined ? undefined : parsePlatform(payload.platform)
  using held = new DisposableStack()
  const present = await presentOf(effects.content, state.target, platform)
  await job.append(...facts)

  const repository = effects.registry.open(to, requestCredentials(job, to))
  const uploader = new Uploader(repository)
  const progress = effects.progress.begin(command.id, 'pushing')
  const documents = [...documentsOf(present)]
  const blobs = blobsOf(present).filter(({ urls }) => urls === undefined || urls.length === 0)
  for (const { digest } of blobs) held.use(effects.content.hold(digest))
  const shown = blobs.map(({ digest, sizeBytes }): LayerProgress => {
    return { digest, sizeBytes, fetchedBytes: 0, phase: 'waiting' }
  })
  progress.layers.push(...shown)
  try {
    // The largest first, so that none of them is left alone at the end.
    const order = blobs
      .map((blob, index) => ({ blob, line: shown[index] }))
      .sort((a, b) => b.blob.sizeBytes - a.blob.sizeBytes)
    const ends = await mapLimited(order, BLOBS_AT_ONCE, signal, async ({ blob, line }, within) => {
      const end = await pushBlob(job, uploader, to, blob, line, within)
      if (line) line.phase = PHASES[end]
      effects.progress.touch(command.id)
      return { end, sizeBytes: blob.sizeBytes }
    })
    progress.step = 'naming'
    for (const { descriptor, bytes } of documents) {
      const isTop = descriptor === present.descriptor
      const reference = isTop && to.tag !== undefined ? to.tag : descriptor.digest
      await uploader.manifest(bytes, descriptor.mediaType, reference, signal)
    }
    const sent = ends.filter(({ end }) => end === 'uploaded')
    const pushed = {
      to: payload.to ?? job.id,
      digest: present.descriptor.digest,
      platforms: [...manifestsOf(present)].flatMap((each) => each.platform ?? []),
      sentBytes: sent.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      sent: sent.length,
      mounted: ends.filter(({ end }) => end === 'mounted').length,
      known: ends.filter(({ end }) => end === 'present').length,
      durationMs: Math.round(performance.now() - begunAt),
    }
    const { durationMs: _, ...result } = pushed
    return {
      facts: [
        image.fact(job.id, 'image.attempted', { attempts: repository.attempts }),
        ...blobs.map((blob) => contentFact(blob, to)),
        image.fact(job.id, 'image.pushed', pushed),
      ],
      result: { ...result, isWhole: present.descriptor.digest === state.target.digest },
    }
  } catch (error) {
    const { attempts } = repository
    if (attempts.length > 0) await job.append(image.fact(job.id, 'image.attempted', { attempts })).catch(() => {})
    throw error
  } finally {
    effects.progress.end(command.id)
  }
})

async function pushBlob(
  { effects, view, namespace, command }: Job<unknown, unknown, PullEffects>,
  uploader: Uploader,
  to: ImageReference,
  { digest, sizeBytes }: Descriptor,
  line: LayerProgress | undefined,
  signal: AbortSignal,
): Promise<Pushed> {
  const known = view.get(content, namespace, digest)
  const sources = known.status === 'present' ? sourcesOf(known.labels) : []
  const mountFrom = sources
    .filter(({ registry, repository }) => registry === to.registry && repository !== to.repository)
    .map(({ repository }) => repository)
  const { connections, bandwidth } = effects.network
  const priority = () => command.priority
  if (line) line.phase = 'sending'
  return await uploader.blob(
    {
      digest,
      sizeBytes,
      mountFrom,
      turn: (within) => connections.acquire(priority, within),
      open: async function* (offset, endBytes) {
        const file = { start: offset, end: endBytes - 1, highWaterMark: READ_BYTES }
        for await (const piece of createReadStream(effects.content.path(digest), file)) {
          await bandwidth.take(piece.length, priority, signal)
          yield piece
        }
      },
      onProgress: (bytes) => {
        if (line) line.fetchedBytes = bytes
        effects.progress.touch(command.id)
      },
    },
    signal,
  )
}
