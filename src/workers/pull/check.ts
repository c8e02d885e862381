import { content } from '../../commands/content.ts'
import { type ImageTarget, image } from '../../commands/image.ts'
import { type Digest, splitDigest } from '../../model/digest.ts'
import { errorCodeOf, PurserError } from '../../model/errors.ts'
import type { Job } from '../../queue/handler.ts'
import { DOCUMENT_BYTES_MAX } from '../../registry/client.ts'
import { definePullHandler, type PullEffects } from './effects.ts'

type CheckJob = Job<unknown, unknown, PullEffects>

interface Finding {
  digest: Digest
  sizeBytes: number
  /** discarded: it is unpacked, and its blob was removed on purpose. */
  status: 'ok' | 'missing' | 'corrupted' | 'discarded'
  /** What is wrong with a corrupted one. */
  found?: string
}

/** Reads all that is on disk of an image, its layers through their compression too; nothing is believed. */
export const checkImage = definePullHandler(image, 'image.check', async (job) => {
  const begunAt = performance.now()
  job.decide()
  const { state, effects, payload } = job
  if (state.status === 'absent') throw new PurserError('internal', 'what was decided has changed')
  using held = new DisposableStack()
  const findings: Finding[] = []
  for (const { digest } of [state.target, state.manifest, state.config]) {
    if (findings.some((each) => each.digest === digest)) continue
    held.use(effects.content.hold(digest))
    findings.push(await checkDocument(job, digest))
  }
  for (const layer of state.layers) {
    if (findings.some((each) => each.digest === layer.digest)) continue
    held.use(effects.content.hold(layer.digest))
    findings.push(await checkLayer(job, layer))
  }
  const bad = findings.filter(({ status }) => status === 'missing' || status === 'corrupted')
  await job.append(
    ...bad.flatMap(({ digest, status, found = '' }) =>
      status === 'corrupted' ? [content.fact(digest, 'content.corrupted', { found })] : [],
    ),
  )
  const healed: Digest[] = []
  if (payload.heal === 'refetch') {
    for (const { digest } of bad) {
      await job.step(`heal/${digest}`, { type: 'content.heal', subject: digest })
      healed.push(digest)
    }
  }
  const digests = (wanted: Finding['status']) =>
    bad.filter(({ status }) => status === wanted).map(({ digest }) => digest)
  const facts = {
    blobs: findings.length,
    readBytes: findings.reduce((sum, each) => sum + each.sizeBytes, 0),
    corrupted: digests('corrupted'),
    missing: digests('missing'),
    durationMs: Math.round(performance.now() - begunAt),
  }
  const isWhole = bad.length === healed.length
  return { facts: [image.fact(job.id, 'image.checked', facts)], result: { isWhole, healed, findings } }
})

async function checkDocument({ effects }: CheckJob, digest: Digest): Promise<Finding> {
  const there = await effects.content.stat(digest)
  if (!there) return { digest, sizeBytes: 0, status: 'missing' }
  const { sizeBytes } = there
  try {
    await effects.content.read(digest, { maxBytes: DOCUMENT_BYTES_MAX })
    return { digest, sizeBytes, status: 'ok' }
  } catch (error) {
    if (!(error instanceof PurserError) || errorCodeOf(error) === 'internal') throw error
    return { digest, sizeBytes, status: 'corrupted', found: error.message }
  }
}

async function checkLayer(
  { effects, signal, view, namespace }: CheckJob,
  { digest, diffId }: ImageTarget['layers'][number],
): Promise<Finding> {
  const there = await effects.content.stat(digest)
  if (!there) {
    const isKnown = view.get(content, namespace, digest).status === 'present'
    return { digest, sizeBytes: 0, status: isKnown ? 'missing' : 'discarded' }
  }
  const { sizeBytes } = there
  const { algorithm } = splitDigest(digest)
  const source = { path: effects.content.path(digest), sizeBytes, algorithm } as const
  try {
    const read = await effects.layers.extract({ source, target: undefined, whiteouts: 'ignore' }, signal)
    if (read.digest === digest && read.diffId === diffId) return { digest, sizeBytes, status: 'ok' }
    const found = read.digest === digest ? `its content is ${read.diffId}` : read.digest
    return { digest, sizeBytes, status: 'corrupted', found }
  } catch (error) {
    signal.throwIfAborted()
    if (!(error instanceof PurserError) || !['data_loss', 'unimplemented'].includes(error.code)) throw error
    return { digest, sizeBytes, status: 'corrupted', found: error.message }
  }
}
