import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, open, readdir, rm, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { listMounts, unmount } from '../host/mounts.ts'
import { errnoOf } from '../host/syscalls.ts'
import { PurserError } from '../model/errors.ts'

const run = promisify(execFile)

const SUFFIX = '.img'
const MOUNT_MS = 60_000

/**
 * Directories that can hold so many bytes and no more: each is a file system of its own, in a sparse file. They stay mounted
 * for as long as they are there, and are mounted again after a reboot.
 */
export class SizedDirectories {
  readonly #root: string

  private constructor(root: string) {
    this.#root = root
  }

  /**
   * @param root where the files are
   * @param pathOf of the directory of an id
   */
  static async open(root: string, pathOf: (id: string) => string): Promise<SizedDirectories> {
    const sized = new SizedDirectories(root)
    const mounted = new Set(listMounts().map(({ target }) => target))
    for (const id of await sized.#ids()) {
      const path = pathOf(id)
      // What was cut off before there was a directory is nobody's.
      if (!existsSync(path)) await rm(sized.#file(id), { force: true })
      // One that cannot be mounted must not keep the others from being used: its own mounts fail for want of a layer.
      else if (!mounted.has(path)) await sized.#mount(id, path, AbortSignal.timeout(MOUNT_MS)).catch(() => {})
    }
    return sized
  }

  /** Makes a directory that is there a sized one. @throws PurserError failed_precondition where that cannot be done */
  async make(id: string, path: string, sizeBytes: number, signal: AbortSignal): Promise<void> {
    const file = this.#file(id)
    await mkdir(this.#root, { recursive: true, mode: 0o700 })
    await rm(file, { force: true })
    const made = await open(file, 'wx', 0o600)
    try {
      await made.truncate(sizeBytes)
    } finally {
      await made.close()
    }
    await inTools(file, async () => {
      const lazy = 'lazy_itable_init=1,lazy_journal_init=1'
      await run('mkfs.ext4', ['-q', '-F', '-m', '0', '-E', lazy, file], { signal })
      await this.#mount(id, path, signal)
    })
  }

  /** What is not sized is left as it is. */
  async remove(id: string, path: string): Promise<void> {
    const file = this.#file(id)
    if (!existsSync(file)) return
    unmount(path)
    // A mount namespace of others may hold a copy of the mount: the space is free all the same.
    await truncate(file, 0)
    await rm(file, { force: true })
  }

  #file(id: string): string {
    return join(this.#root, `${id}${SUFFIX}`)
  }

  async #ids(): Promise<string[]> {
    const names = await readdir(this.#root).catch((error: unknown) => {
      if (errnoOf(error) === 'ENOENT') return []
      throw error
    })
    return names.filter((name) => name.endsWith(SUFFIX)).map((name) => name.slice(0, -SUFFIX.length))
  }

  async #mount(id: string, path: string, signal: AbortSignal): Promise<void> {
    await run('mount', ['-t', 'ext4', '-o', 'loop,noatime,discard', this.#file(id), path], { signal })
  }
}

/** What the tools say is why it cannot be done here. */
async function inTools(file: string, attempt: () => Promise<void>): Promise<void> {
  try {
    await attempt()
  } catch (cause) {
    await rm(file, { force: true })
    const { stderr, path } = cause as { stderr?: string; path?: string }
    const isMissing = errnoOf(cause) === 'ENOENT'
    const why = isMissing ? `${path} is not installed` : (stderr ?? String(cause)).trim().slice(-300)
    throw new PurserError('failed_precondition', `a file system of its own could not be made: ${why}`, {
      remedy: isMissing
        ? 'install e2fsprogs and mount'
        : 'see that loop devices and ext4 work here, or ask for no size',
      cause,
    })
  }
}
