import { snapshot, snapshotId } from '../../commands/snapshot.ts'
import type { DiskSpace, ReservedSpace } from '../../content/disk-space.ts'
import type { LayerRoom } from '../../layers/pool.ts'
import type { Snapshotter } from '../../snapshotters/snapshotter.ts'
import { unpackedBytes } from '../../unpack/unpacked-bytes.ts'
import type { PullJob } from './commit-snapshots.ts'
import type { Layer } from './layer.ts'

interface LayerSpace {
  fetched: ReservedSpace
  unpacked: ReservedSpace
}

/** The disk space of one pull: reserved before anything is fetched, given back as it is used or turns out not to be needed. */
export class PullSpace implements Disposable {
  readonly #reserved: ReadonlyMap<Layer, LayerSpace>

  private constructor(reserved: ReadonlyMap<Layer, LayerSpace>) {
    this.#reserved = reserved
  }

  /** @throws PurserError resource_exhausted when the image does not fit */
  static async reserve(job: PullJob, snapshotter: Snapshotter, layers: readonly Layer[]): Promise<PullSpace> {
    const disk: DiskSpace = job.effects.disk
    const fetched = await Promise.all(layers.map((layer) => toFetch(job, layer)))
    const unpacked = toUnpack(job, snapshotter, layers)
    const reserved = await disk.reserve(job.id, [...fetched, ...unpacked])
    const byLayer = layers.flatMap((layer, index) => {
      const [one, other] = [reserved[index], reserved[index + layers.length]]
      return one && other ? [[layer, { fetched: one, unpacked: other }] as const] : []
    })
    return new PullSpace(new Map(byLayer))
  }

  fetched(layer: Layer, receivedBytes: number): void {
    this.#reserved.get(layer)?.fetched.used(receivedBytes)
  }

  roomFor(layer: Layer): LayerRoom | undefined {
    return this.#reserved.get(layer)?.unpacked
  }

  unpacked(layer: Layer): void {
    this.#reserved.get(layer)?.unpacked[Symbol.dispose]()
  }

  [Symbol.dispose](): void {
    for (const { fetched, unpacked } of this.#reserved.values()) {
      fetched[Symbol.dispose]()
      unpacked[Symbol.dispose]()
    }
  }
}

/** Bytes of the blob that are not on the disk, and that nobody else has reserved. */
async function toFetch({ effects }: PullJob, { digest, sizeBytes }: Layer): Promise<number> {
  if (effects.transfers.has(digest) || (await effects.content.stat(digest))) return 0
  return Math.max(0, sizeBytes - (await effects.content.ingestedBytes(`layer-${digest}`)))
}

function toUnpack({ view, namespace }: PullJob, snapshotter: Snapshotter, layers: readonly Layer[]): number[] {
  const bytes = unpackedBytes(
    snapshotter.name,
    layers.map(({ descriptor }) => descriptor),
  )
  return layers.map(({ chainId }, index) => {
    const isThere = view.get(snapshot, namespace, snapshotId(snapshotter.name, chainId)).status === 'committed'
    return isThere ? 0 : (bytes[index] ?? 0)
  })
}
