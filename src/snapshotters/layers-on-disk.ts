import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { byteString } from '../host/byte-paths.ts'
import { copyDirectoryAttributes } from '../host/copy-attributes.ts'
import type { Mount } from '../host/mounts.ts'
import { SnapshotDirectories } from './directories.ts'
import { SizedDirectories } from './sized-directories.ts'
import type { SnapshotKind, Usage } from './snapshotter.ts'

/** What a union file system is made of; without an upper directory it is read-only. */
export interface Stack {
  lower: readonly string[]
  upper?: { path: string; work: string }
}

/**
 * One directory a layer, to be stacked by a union file system: `<id>/fs` is the layer, `<id>/work` what the file system
 * needs beside it.
 *
 * @see containerd, snapshots/overlay/overlay.go
 */
export class LayersOnDisk {
  readonly #directories: SnapshotDirectories
  readonly #sized: SizedDirectories

  private constructor(directories: SnapshotDirectories, sized: SizedDirectories) {
    this.#directories = directories
    this.#sized = sized
  }

  static async open(root: string): Promise<LayersOnDisk> {
    const directories = await SnapshotDirectories.open(join(root, 'snapshots'))
    return new LayersOnDisk(directories, await SizedDirectories.open(join(root, 'sized'), (id) => directories.path(id)))
  }

  layer(id: string): string {
    return join(this.#directories.path(id), 'fs')
  }

  /**
   * The root of a mount looks as its upper directory does, so that one looks as the parent's.
   *
   * @param size that it can have at most; no bound without it
   */
  async create(id: string, parent: string | undefined, size?: { bytes: number; signal: AbortSignal }): Promise<void> {
    const path = this.#directories.path(id)
    await mkdir(path, { mode: 0o700 })
    if (size !== undefined) await this.#sized.make(id, path, size.bytes, size.signal)
    await mkdir(join(path, 'fs'), { mode: 0o755 })
    await mkdir(join(path, 'work'), { mode: 0o711 })
    if (parent !== undefined) copyDirectoryAttributes(byteString(this.layer(parent)), byteString(this.layer(id)))
  }

  /** A bind mount where there is one directory only, else what to stack. */
  stack(id: string, kind: SnapshotKind, parents: readonly string[]): Mount | Stack {
    const lower = parents.map((parent) => this.layer(parent))
    if (kind === 'active' || kind === 'unpacking') {
      if (lower.length === 0) return bind(this.layer(id), 'rw')
      return { lower, upper: { path: this.layer(id), work: join(this.#directories.path(id), 'work') } }
    }
    const seen = kind === 'committed' || lower.length === 0 ? [this.layer(id), ...lower] : lower
    const [top] = seen
    return seen.length === 1 && top !== undefined ? bind(top, 'ro') : { lower: seen }
  }

  async remove(id: string): Promise<void> {
    await this.#sized.remove(id, this.#directories.path(id))
    await this.#directories.remove(id)
  }

  usage(id: string, signal: AbortSignal): Promise<Usage> {
    return this.#directories.usage(this.layer(id), signal)
  }

  list(): Promise<string[]> {
    return this.#directories.list()
  }

  sync(id: string, signal: AbortSignal): Promise<void> {
    return this.#directories.sync(id, signal)
  }
}

const bind = (source: string, access: 'ro' | 'rw'): Mount => ({ type: 'bind', source, options: [access, 'rbind'] })

/** The directories as mount options, as overlayfs and fuse-overlayfs take them. */
export const stackOptions = ({ lower, upper }: Stack): string[] => [
  ...(upper ? [`workdir=${upper.work}`, `upperdir=${upper.path}`] : []),
  `lowerdir=${lower.join(':')}`,
]
