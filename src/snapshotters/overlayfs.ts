import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { byteString } from '../host/byte-paths.ts'
import { copyDirectoryAttributes } from '../host/copy-attributes.ts'
import type { Mount } from '../host/mounts.ts'
import { SnapshotDirectories } from './directories.ts'
import type { LayerTarget, SnapshotKind, Snapshotter } from './snapshotter.ts'

/** One directory a layer, stacked by the kernel. @see containerd, snapshots/overlay/overlay.go */
export class OverlayfsSnapshotter implements Snapshotter {
  readonly name = 'overlayfs'
  readonly #directories: SnapshotDirectories

  private constructor(directories: SnapshotDirectories) {
    this.#directories = directories
  }

  static async open(root: string): Promise<OverlayfsSnapshotter> {
    return new OverlayfsSnapshotter(await SnapshotDirectories.open(join(root, 'snapshots')))
  }

  /** The root of a mount looks as its upper directory does, so that one looks as the parent's. */
  async create(id: string, [parent]: readonly string[]): Promise<void> {
    const path = this.#directories.path(id)
    await mkdir(path, { mode: 0o700 })
    await mkdir(join(path, 'fs'), { mode: 0o755 })
    await mkdir(join(path, 'work'), { mode: 0o711 })
    if (parent !== undefined) copyDirectoryAttributes(byteString(this.#fs(parent)), byteString(this.#fs(id)))
  }

  mounts(id: string, kind: SnapshotKind, parents: readonly string[]): Mount[] {
    const lower = parents.map((parent) => this.#fs(parent))
    const [only] = lower
    if (kind === 'active') {
      if (only === undefined) return [{ type: 'bind', source: this.#fs(id), options: ['rw', 'rbind'] }]
      const options = [`workdir=${join(this.#directories.path(id), 'work')}`, `upperdir=${this.#fs(id)}`]
      return [overlay([...options, `lowerdir=${lower.join(':')}`])]
    }
    const seen = kind === 'committed' ? [this.#fs(id), ...lower] : lower
    const [top] = seen
    if (seen.length === 1 && top !== undefined) return [{ type: 'bind', source: top, options: ['ro', 'rbind'] }]
    if (top === undefined) return [{ type: 'bind', source: this.#fs(id), options: ['ro', 'rbind'] }]
    return [overlay([`lowerdir=${seen.join(':')}`])]
  }

  layerTarget(id: string): LayerTarget {
    return { path: this.#fs(id), placement: 'alone' }
  }

  remove(id: string): Promise<void> {
    return this.#directories.remove(id)
  }

  usage(id: string, signal: AbortSignal): Promise<{ sizeBytes: number; inodes: number }> {
    return this.#directories.usage(this.#fs(id), signal)
  }

  list(): Promise<string[]> {
    return this.#directories.list()
  }

  sync(id: string, signal: AbortSignal): Promise<void> {
    return this.#directories.sync(id, signal)
  }

  #fs(id: string): string {
    return join(this.#directories.path(id), 'fs')
  }
}

const overlay = (options: string[]): Mount => ({
  type: 'overlay',
  source: 'overlay',
  options: ['index=off', ...options],
})
