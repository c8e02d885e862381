import { image } from '../../commands/image.ts'
import { snapshot, snapshotId } from '../../commands/snapshot.ts'
import type { View } from '../../model/aggregate.ts'
import { PurserError } from '../../model/errors.ts'
import { chainIds } from '../../oci/chain-id.ts'
import type { Snapshotter, Usage } from '../../snapshotters/snapshotter.ts'
import { snapshotterOf } from './snapshotter-of.ts'

/** What an image's unpacked layers take on disk. */
export interface ImageUsage {
  /** Undefined where it is unpacked nowhere. */
  snapshotter?: string
  /** Of all its layers; bytes that it shares with other images are counted once here, and once in each of those. */
  sizeBytes: number
  /** Of those layers that other images of the namespace have as well. */
  sharedBytes: number
  /** What removing the image alone would free. */
  uniqueBytes: number
  inodes: number
  layers: { chainId: string; sizeBytes: number; inodes: number; images: number }[]
}

export interface SnapshotUsage extends Usage {
  /** With all its parents. */
  totalBytes: number
  totalInodes: number
}

export interface SnapshotterStatus {
  name: string
  kind: string
  status: 'ok' | 'unavailable'
  /** Why it is unavailable. */
  reason?: string
  snapshots: number
}

/** Answers about what snapshots take. What is committed does not change and is measured once. */
export class SnapshotInsight {
  readonly #view: View
  readonly #snapshotters: ReadonlyMap<string, Snapshotter>
  /** By snapshotter and directory; only of committed ones. */
  readonly #measured = new Map<string, Usage>()

  constructor(view: View, snapshotters: ReadonlyMap<string, Snapshotter>) {
    this.#view = view
    this.#snapshotters = snapshotters
  }

  /** Every snapshotter there is, and whether it can be used. */
  async snapshotters(signal: AbortSignal): Promise<SnapshotterStatus[]> {
    const counts = new Map<string, number>()
    for (const { id, state } of this.#view.list(snapshot)) {
      const name = id.slice(0, id.indexOf('/'))
      if (state.status !== 'absent') counts.set(name, (counts.get(name) ?? 0) + 1)
    }
    return Promise.all(
      [...this.#snapshotters.values()].map(async (snapshotter) => {
        const { name, kind } = snapshotter
        const reason = await snapshotter.unavailable(signal)
        const known = { name, kind, snapshots: counts.get(name) ?? 0 }
        return reason === undefined
          ? { ...known, status: 'ok' as const }
          : { ...known, status: 'unavailable' as const, reason }
      }),
    )
  }

  /** @throws PurserError not_found */
  async usage(namespace: string, id: string, signal: AbortSignal): Promise<SnapshotUsage> {
    const { snapshotter } = snapshotterOf(this.#snapshotters, id)
    const own = await this.#measure(snapshotter, namespace, id, signal)
    let [totalBytes, totalInodes] = [own.sizeBytes, own.inodes]
    const state = this.#view.get(snapshot, namespace, id)
    let above = state.status === 'absent' ? undefined : state.parent
    while (above !== undefined) {
      const parent = snapshotId(snapshotter.name, above)
      const { sizeBytes, inodes } = await this.#measure(snapshotter, namespace, parent, signal)
      totalBytes += sizeBytes
      totalInodes += inodes
      const at = this.#view.get(snapshot, namespace, parent)
      above = at.status === 'absent' ? undefined : at.parent
    }
    return { ...own, totalBytes, totalInodes }
  }

  /** What an image takes, with what it shares told apart. @throws PurserError not_found */
  async imageUsage(namespace: string, name: string, signal: AbortSignal): Promise<ImageUsage> {
    const state = this.#view.get(image, namespace, name)
    if (state.status === 'absent') {
      throw new PurserError('not_found', `image ${name} is not in namespace ${namespace}`, { remedy: 'purser images' })
    }
    const chain = chainIds(state.layers.map(({ diffId }) => diffId))
    const top = chain.at(-1) ?? ''
    const holds = (each: Snapshotter) => {
      return this.#view.get(snapshot, namespace, snapshotId(each.name, top)).status === 'committed'
    }
    const snapshotter = [...this.#snapshotters.values()].find(holds)
    const usage: ImageUsage = { sizeBytes: 0, sharedBytes: 0, uniqueBytes: 0, inodes: 0, layers: [] }
    if (!snapshotter) return usage
    const images = this.#imagesByChainId(namespace)
    for (const chainId of chain) {
      const { sizeBytes, inodes } = await this.#measure(
        snapshotter,
        namespace,
        snapshotId(snapshotter.name, chainId),
        signal,
      )
      const users = images.get(chainId)?.size ?? 1
      usage.layers.push({ chainId, sizeBytes, inodes, images: users })
      usage.sizeBytes += sizeBytes
      usage.inodes += inodes
      if (users > 1) usage.sharedBytes += sizeBytes
      else usage.uniqueBytes += sizeBytes
    }
    return { snapshotter: snapshotter.name, ...usage }
  }

  /** Manifests, not names: two names of one image share nothing but the image. */
  #imagesByChainId(namespace: string): Map<string, Set<string>> {
    const images = new Map<string, Set<string>>()
    for (const { state } of this.#view.list(image, namespace)) {
      if (state.status === 'absent') continue
      for (const chainId of chainIds(state.layers.map(({ diffId }) => diffId))) {
        images.set(chainId, (images.get(chainId) ?? new Set()).add(state.manifest.digest))
      }
    }
    return images
  }

  async #measure(snapshotter: Snapshotter, namespace: string, id: string, signal: AbortSignal): Promise<Usage> {
    const state = this.#view.get(snapshot, namespace, id)
    if (state.status === 'absent') {
      throw new PurserError('not_found', `snapshot ${id} is not in namespace ${namespace}`, {
        remedy: 'purser snapshot ls',
      })
    }
    const key = `${snapshotter.name}/${state.dir}`
    const known = this.#measured.get(key)
    if (known) return known
    const usage = await snapshotter.usage(state.dir, signal)
    if (state.status === 'committed') {
      this.#forgetGone()
      this.#measured.set(key, usage)
    }
    return usage
  }

  /** Keeps no more than there are snapshots. */
  #forgetGone(): void {
    if (this.#measured.size < 1024) return
    const there = new Set<string>()
    for (const { id, state } of this.#view.list(snapshot)) {
      if (state.status !== 'absent') there.add(`${id.slice(0, id.indexOf('/'))}/${state.dir}`)
    }
    for (const key of this.#measured.keys()) if (!there.has(key)) this.#measured.delete(key)
  }
}
