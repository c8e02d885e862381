import { existsSync } from 'node:fs'
import { chmod, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { workingIn } from '../../../host/working-in.ts'

const POLL_MS = 50

/**
 * A checkpoint on disk. It is made beside its place, in a directory whose name no checkpoint can have, and moved there when
 * it is whole: what is in its place is never half written.
 */
export class CheckpointFiles {
  readonly #parent: string
  readonly #place: string
  readonly #part: string

  constructor(parent: string, name: string) {
    this.#parent = parent
    this.#place = join(parent, name)
    this.#part = join(parent, `.${name}.part`)
  }

  /** All of it, as it is being written. */
  get part(): string {
    return this.#part
  }

  /** Of CRIU, as they are being written. */
  get newImages(): string {
    return join(this.#part, 'images')
  }

  /** Where CRIU logs, and says at last that it has written all. */
  get work(): string {
    return join(this.#part, 'work')
  }

  /** As a layer, what the container had written beside its image, as it is being written. */
  get newLayer(): string {
    return join(this.#part, LAYER)
  }

  /** Of CRIU, to restore from. */
  get images(): string {
    return join(this.#place, 'images')
  }

  /** What it has, by names that lead from its directory to there. */
  async list(): Promise<{ name: string; path: string }[]> {
    const paths = (await filesIn(this.#place)).sort()
    return paths.map((path) => ({ name: relative(this.#place, path), path }))
  }

  /** Makes room, whatever an earlier attempt has left. */
  async begin(): Promise<void> {
    await this.remove()
    for (const dir of [this.newImages, this.work]) await mkdir(dir, { recursive: true, mode: 0o700 })
  }

  /** Whether CRIU has written all of its images: it writes its statistics last, when the dump has succeeded. */
  isDumped(): boolean {
    return existsSync(this.#place) || existsSync(join(this.work, 'stats-dump'))
  }

  /**
   * Waits until nobody writes to it any more: CRIU may go on after the daemon that has asked for it was killed. It is not
   * killed itself, for it has its own code in the processes that it dumps until it has ended.
   */
  async settled(signal: AbortSignal): Promise<void> {
    while (workingIn(this.#part).length > 0) await delay(POLL_MS, undefined, { signal })
  }

  /** Moves it to its place, durably. @returns bytes on disk */
  async complete(): Promise<number> {
    if (!existsSync(this.#place)) {
      await rm(this.work, { recursive: true, force: true })
      for (const path of await filesIn(this.#part)) {
        await chmod(path, 0o600)
        await using file = await open(path)
        await file.sync()
      }
      for (const dir of [this.newImages, this.#part]) await syncDirectory(dir)
      await rename(this.#part, this.#place)
      await syncDirectory(this.#parent)
    }
    const sizes = await Promise.all((await filesIn(this.#place)).map(async (path) => (await stat(path)).size))
    return sizes.reduce((sum, size) => sum + size, 0)
  }

  /** Removes all of it, also what is half written. */
  async remove(): Promise<void> {
    for (const dir of [this.#part, this.#place]) await rm(dir, { recursive: true, force: true })
  }
}

/** Its name in there: what the container had written beside its image. */
export const LAYER = 'layer.tar'

async function filesIn(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { withFileTypes: true, recursive: true })
  return entries.flatMap((entry) => (entry.isFile() ? [join(entry.parentPath, entry.name)] : []))
}

async function syncDirectory(path: string): Promise<void> {
  await using dir = await open(path, 'r')
  await dir.sync()
}
