import { dirOf } from '../../commands/snapshot.ts'
import type { AvailableBytes } from '../../layers/available-bytes.ts'
import { mapLimited } from '../../model/concurrency.ts'
import { errorCodeOf, PurserError } from '../../model/errors.ts'
import { uuidv7 } from '../../model/ids.ts'
import type { Repository } from '../../registry/client.ts'
import type { Snapshotter } from '../../snapshotters/snapshotter.ts'
import { extractAlone } from '../../unpack/unpack-layers.ts'
import { claimUnpacking, type PullJob, type WithinPull } from './commit-snapshots.ts'
import { isDiscarded } from './discard.ts'
import { contentFact, type Layer } from './layer.ts'
import { StallWatch } from './stall-watch.ts'
import type { WantedBlob } from './transfers.ts'

const LAYERS_AT_ONCE = 6

interface WithinFetch extends WithinPull {
  repository: Repository
  /** Names repository and credentials. */
  source: string
  /** Whether layers are not needed where they are unpacked. */
  isDiscarding: boolean
  /** Removes what was extracted and is not recorded. */
  undo: AsyncDisposableStack
}

/** Fetches what is missing, in any order, and extracts what needs no parents for that, while it is being fetched. */
export async function fetchLayers(
  job: PullJob,
  snapshotter: Snapshotter,
  layers: readonly Layer[],
  given: WithinFetch,
): Promise<void> {
  using watch = new StallWatch(job.effects.stall)
  await mapLimited(layers, LAYERS_AT_ONCE, given.signal, async (layer, signal, index) => {
    if (given.isDiscarding && (await isDiscarded(job, snapshotter, layer))) {
      layer.progress.phase = 'present'
      return layer.ready.resolve()
    }
    const position = index === 0 ? 'bottom' : 'above'
    await bringLayer(job, snapshotter, layer, position, watch, { ...given, signal })
    await job.append(contentFact(layer.descriptor, given.repository.ref))
    layer.path = job.effects.content.path(layer.digest)
    layer.progress.phase = layer.isAwaited ? 'done' : 'present'
    job.effects.progress.touch(job.command.id)
    layer.ready.resolve()
  })
}

/** Once more from the beginning, where wrong bytes may be those of two files. */
async function bringLayer(...args: Parameters<typeof bring>): Promise<void> {
  if ((await bring(...args)) === 'patchwork') await bring(...args)
}

async function bring(
  job: PullJob,
  snapshotter: Snapshotter,
  layer: Layer,
  position: 'bottom' | 'above',
  watch: StallWatch,
  within: WithinFetch,
): Promise<'done' | 'patchwork'> {
  await using wanted = want(job, layer, within)
  using _watched = watch.add(wanted)
  try {
    if (snapshotter.layerTarget('0').placement === 'alone')
      await unpackAlone(job, snapshotter, layer, position, wanted, within)
    await wanted.stored()
    return 'done'
  } catch (error) {
    if (within.signal.aborted || errorCodeOf(error) !== 'data_loss' || !wanted.isPatchwork || layer.isFetchedAgain)
      throw error
    layer.isFetchedAgain = true
    if (layer.unpacking) {
      await snapshotter.remove(layer.unpacking.dir, within.signal)
      layer.unpacking.claim[Symbol.dispose]()
      delete layer.unpacking
    }
    return 'patchwork'
  } finally {
    layer.fetchedBytes += wanted.fetchedBytes
  }
}

function want(
  { effects, command }: PullJob,
  layer: Layer,
  { repository, source, space, signal }: WithinFetch,
): WantedBlob {
  const { transfers, progress } = effects
  const { digest, sizeBytes, descriptor } = layer
  return transfers.want(
    {
      digest,
      sizeBytes,
      priority: command.priority,
      source: {
        name: source,
        open: (range, within) => repository.openBlob(descriptor, range, within),
      },
      onProgress: (receivedBytes) => {
        layer.isAwaited = true
        space.fetched(layer, receivedBytes)
        layer.progress.phase = receivedBytes < sizeBytes ? 'fetching' : 'extracting'
        layer.progress.fetchedBytes = receivedBytes
        progress.touch(command.id)
      },
    },
    signal,
  )
}

/** Unless its snapshot is there, or somebody else makes it. */
async function unpackAlone(
  job: PullJob,
  snapshotter: Snapshotter,
  layer: Layer,
  position: 'bottom' | 'above',
  wanted: WantedBlob,
  { undo, claims, space }: WithinFetch,
): Promise<void> {
  const { signal } = wanted
  const claim = await claimUnpacking(job, snapshotter, layer, { signal, claims })
  if (!claim) return
  const dir = dirOf(uuidv7())
  layer.unpacking = { dir, claim }
  undo.defer(async () => {
    if (layer.unpacking?.dir === dir) await snapshotter.remove(dir, AbortSignal.timeout(60_000))
  })
  const { layers: pool, runDir, content } = job.effects
  const { priority } = job.command
  const given = { priority, room: space.roomFor(layer) }
  const extract = (from: { path: string; available?: AvailableBytes }) =>
    extractAlone({ pool, snapshotter, runDir }, { ...layer, ...from, ...given }, dir, position, signal).catch(
      (error: unknown) => {
        signal.throwIfAborted()
        throw inLayer(layer.digest, error)
      },
    )
  using followed = await wanted.follow()
  if (!followed) {
    await wanted.stored()
    layer.progress.phase = 'extracting'
    layer.unpacking.alone = await extract({ path: content.path(layer.digest) })
    return
  }
  try {
    // One pass: what arrives is written down, and a thread follows the file, hashes, inflates, hashes, extracts.
    layer.unpacking.alone = await extract({ path: followed.path, available: followed.available })
    followed.verified(layer.unpacking.alone.digest)
  } catch (error) {
    if (signal.aborted) throw signal.reason
    followed.suspect()
    throw error
  }
}

/** Says which layer it is that cannot be read. */
function inLayer(digest: string, reason: unknown): unknown {
  if (!(reason instanceof PurserError) || reason.message.includes(digest)) return reason
  const { code, message, remedy } = reason
  return new PurserError(code, `${digest}: ${message}`, { cause: reason, ...(remedy === undefined ? {} : { remedy }) })
}
