import { readdirSync } from 'node:fs'
import { type Mount, mountTemporarily } from '../../host/mounts.ts'
import type { UserFiles } from '../../oci/spec/users.ts'
import { readUserFiles } from './rootfs.ts'

/** Of images whose user files are remembered; those of the image that was not asked for longest are forgotten. */
const IMAGES_MAX = 128

/**
 * The user files of containers that have not been started. They are read through a mount that lasts for a moment, whose end
 * can take longer than all else that the daemon does for a start: so those of a fresh container, which are its image's, are
 * read once for each image.
 */
export class UserFilesOfImages {
  readonly #runDir: string
  /** By the directories of the layers: their names are never used again. */
  readonly #known = new Map<string, UserFiles>()

  /** @param runDir for mounts that last for a moment */
  constructor(runDir: string) {
    this.#runDir = runDir
  }

  async read(rootfs: readonly Mount[], signal: AbortSignal): Promise<UserFiles> {
    const layers = layersOfFresh(rootfs)
    const known = layers === undefined ? undefined : this.#known.get(layers)
    if (layers === undefined || known === undefined) {
      await using mounted = await mountTemporarily(rootfs, this.#runDir, signal)
      const found = readUserFiles(mounted.path)
      if (layers !== undefined) this.#remember(layers, found)
      return found
    }
    this.#remember(layers, known)
    return known
  }

  #remember(layers: string, files: UserFiles): void {
    this.#known.delete(layers)
    this.#known.set(layers, files)
    const [oldest] = this.#known.keys()
    if (this.#known.size > IMAGES_MAX && oldest !== undefined) this.#known.delete(oldest)
  }
}

/** What an overlay lies on that nothing was written to yet. */
function layersOfFresh([overlay, ...more]: readonly Mount[]): string | undefined {
  if (overlay?.type !== 'overlay' || more.length > 0) return undefined
  const optionOf = (name: string) =>
    overlay.options.find((option) => option.startsWith(`${name}=`))?.slice(name.length + 1)
  const upper = optionOf('upperdir')
  return upper !== undefined && readdirSync(upper).length === 0 ? optionOf('lowerdir') : undefined
}
