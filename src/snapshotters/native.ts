import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { execa } from 'execa'
import type { Mount } from '../host/mounts.ts'
import { PurserError } from '../model/errors.ts'
import { SnapshotDirectories } from './directories.ts'
import type { LayerTarget, SnapshotKind, Snapshotter, Usage } from './snapshotter.ts'

/** A full copy for each snapshot: slow and large, on any file system. @see containerd, snapshots/native/native.go */
export class NativeSnapshotter implements Snapshotter {
  readonly name = 'native'
  readonly kind = 'copy'
  readonly #directories: SnapshotDirectories

  private constructor(directories: SnapshotDirectories) {
    this.#directories = directories
  }

  static async open(root: string): Promise<NativeSnapshotter> {
    return new NativeSnapshotter(await SnapshotDirectories.open(join(root, 'snapshots')))
  }

  async unavailable(): Promise<undefined> {}

  async create(id: string, _kind: 'active' | 'view', [parent]: readonly string[], signal: AbortSignal): Promise<void> {
    const path = this.#directories.path(id)
    if (parent === undefined) {
      await mkdir(path, { mode: 0o755 })
      return
    }
    const args = ['--archive', '--reflink=auto', '--no-target-directory', this.#directories.path(parent), path]
    const { exitCode, stderr } = await execa('cp', args, { cancelSignal: signal, reject: false })
    signal.throwIfAborted()
    if (exitCode === 0) return
    const code = stderr.includes('No space left') ? 'resource_exhausted' : 'internal'
    throw new PurserError(code, `snapshot ${parent} could not be copied: ${stderr.slice(-300)}`)
  }

  async mounts(id: string, kind: SnapshotKind): Promise<Mount[]> {
    const access = kind === 'active' || kind === 'unpacking' ? 'rw' : 'ro'
    return [{ type: 'bind', source: this.#directories.path(id), options: ['rbind', access] }]
  }

  async commit(): Promise<void> {}

  layerTarget(): LayerTarget {
    return { placement: 'on-parents' }
  }

  remove(id: string): Promise<void> {
    return this.#directories.remove(id)
  }

  usage(id: string, signal: AbortSignal): Promise<Usage> {
    return this.#directories.usage(this.#directories.path(id), signal)
  }

  list(): Promise<string[]> {
    return this.#directories.list()
  }

  sync(id: string, signal: AbortSignal): Promise<void> {
    return this.#directories.sync(id, signal)
  }
}
