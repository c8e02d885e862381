import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { type ContentState, content, sourcesOf } from '../../commands/content.ts'
import { fetchBlob } from '../../content/fetch.ts'
import type { ContentStore } from '../../content/store.ts'
import { type Digest, parseDigest, splitDigest } from '../../model/digest.ts'
import { PurserError, toPurserError } from '../../model/errors.ts'
import type { Descriptor } from '../../oci/manifest.ts'
import { isIndexType, isManifestType } from '../../oci/media-types.ts'
import type { Job } from '../../queue/handler.ts'
import { definePullHandler, type PullEffects } from './effects.ts'

/** A blob that has rotted, or is gone, is brought again from a repository it is known to be in; its bytes are kept aside. */
export const healContent = definePullHandler(content, 'content.heal', async (job) => {
  const { effects, signal, state, command } = job
  const digest = parseDigest(job.id)
  job.decide()
  if (state.status === 'absent') throw new PurserError('internal', 'what was decided has changed')
  using _ = effects.content.hold(digest)
  const found = await digestOnDisk(effects.content, digest, signal)
  if (found === digest) return { facts: [], result: { digest, status: 'ok' } }
  if (found !== undefined) {
    const { hex } = splitDigest(digest)
    const file = `${hex}-${command.id}`
    await mkdir(effects.quarantineDir, { recursive: true, mode: 0o700 })
    await rename(effects.content.path(digest), join(effects.quarantineDir, file)).catch((error: unknown) => {
      throw toPurserError(error)
    })
    await job.append(
      content.fact(digest, 'content.corrupted', { found }),
      content.fact(digest, 'content.quarantined', { file }),
    )
  }
  const source = await refetch(job, digest, state)
  return {
    facts: [content.fact(digest, 'content.healed', { source, sizeBytes: state.sizeBytes })],
    result: { digest, status: 'healed', source },
  }
})

/** Undefined when there is none. */
async function digestOnDisk(store: ContentStore, digest: Digest, signal: AbortSignal): Promise<Digest | undefined> {
  if (!(await store.stat(digest))) return undefined
  const { algorithm } = splitDigest(digest)
  const hash = createHash(algorithm)
  for await (const piece of createReadStream(store.path(digest), { highWaterMark: 1 << 20 })) {
    signal.throwIfAborted()
    hash.update(piece)
  }
  return `${algorithm}:${hash.digest('hex')}`
}

async function refetch(
  { effects, signal, logger }: Job<unknown, unknown, PullEffects>,
  digest: Digest,
  { labels, mediaType, sizeBytes }: Extract<ContentState, { status: 'present' }>,
): Promise<string> {
  const descriptor: Descriptor = { digest, mediaType, sizeBytes }
  const isDocument = isIndexType(mediaType) || isManifestType(mediaType)
  let last: unknown
  for (const { registry, repository } of sourcesOf(labels)) {
    const from = effects.registry.open({ registry, repository, digest })
    try {
      if (isDocument) {
        await effects.content.writeDocument(await from.fetchDocument(descriptor, sizeBytes, signal), digest)
      } else {
        await using ingest = await fetchBlob({
          store: effects.content,
          digest,
          sizeBytes,
          open: (range, within) => from.openBlob(descriptor, range, within),
          signal,
          hash: 'here',
          ref: `heal-${digest}`,
        })
        await ingest.commit()
      }
      return `${registry}/${repository}`
    } catch (error) {
      signal.throwIfAborted()
      logger.warn({ err: error, digest, registry, repository }, 'a blob could not be fetched again')
      last = error
    }
  }
  throw new PurserError('data_loss', `${digest} is not as it should be, and no repository has given it again`, {
    remedy: 'pull or load an image that has it',
    cause: last,
  })
}
