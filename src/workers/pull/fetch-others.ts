import { mapLimited } from '../../model/concurrency.ts'
import type { Digest } from '../../model/digest.ts'
import type { Descriptor } from '../../oci/manifest.ts'
import type { CommandProgress, LayerProgress } from '../../projections/progress.ts'
import type { PullJob } from './commit-snapshots.ts'
import { contentFact } from './layer.ts'
import { type ResolvedPull, type ResolveParts, resolveOthers } from './resolve.ts'

const BLOBS_AT_ONCE = 6

/**
 * Brings what an image has besides the platform that is unpacked: other platforms, attestations. It is stored, not unpacked.
 *
 * @returns the digests of all that belongs to it
 */
export async function fetchOthers(
  job: PullJob,
  parts: ResolveParts,
  resolved: ResolvedPull,
  progress: CommandProgress,
): Promise<{ digests: Digest[]; fetchedBytes: number }> {
  const { effects, signal, command } = job
  const { repository, content, hold } = parts
  const documents: Descriptor[] = []
  const found = await resolveOthers(parts, resolved, signal, documents).finally(async () => {
    // What nobody knows of, nobody collects.
    await job.append(...documents.map((each) => contentFact(each, repository.ref)))
  })
  const { registry, repository: name } = repository.ref
  const sizes = await mapLimited(found.blobs, BLOBS_AT_ONCE, signal, async (descriptor, within) => {
    const { digest, sizeBytes } = descriptor
    hold(digest)
    const shown: LayerProgress = { digest, sizeBytes, fetchedBytes: 0, phase: 'waiting' }
    progress.layers.push(shown)
    let fetchedBytes = 0
    if (!(await content.stat(digest))) {
      const wanted = effects.transfers.want(
        {
          digest,
          sizeBytes,
          priority: command.priority,
          source: { name: `${registry}/${name}`, open: (range, by) => repository.openBlob(descriptor, range, by) },
          onProgress: (receivedBytes) => {
            shown.phase = 'fetching'
            shown.fetchedBytes = receivedBytes
            effects.progress.touch(command.id)
          },
        },
        within,
      )
      try {
        await wanted.stored()
        fetchedBytes = wanted.fetchedBytes
      } finally {
        await wanted[Symbol.asyncDispose]()
      }
    }
    shown.phase = fetchedBytes > 0 ? 'done' : 'present'
    await job.append(contentFact(descriptor, repository.ref))
    return fetchedBytes
  })
  return {
    digests: [...documents, ...found.blobs].map(({ digest }) => digest),
    fetchedBytes: sizes.reduce((sum, bytes) => sum + bytes, found.fetchedBytes),
  }
}
