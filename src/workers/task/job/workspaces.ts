import { chmod, mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { SizedDirectories } from '../../../snapshotters/sized-directories.ts'
import type { TaskPaths } from '../paths.ts'
import { attemptFiles } from './files.ts'

/** As /tmp: steps may run as different users, and nobody else gets here. */
const MODE = 0o1777

export interface Attempt {
  namespace: string
  id: string
  attempt: number
}

export interface WorkspacesOptions {
  /** Where those that are bounded have their files. */
  root: string
  paths: TaskPaths
  /** Of jobs that say nothing; without a bound where there is none. */
  defaultBytes: number | undefined
}

/** The directories that the steps of an attempt share. One that is bounded is a file system of its own. */
export class Workspaces {
  readonly #paths: TaskPaths
  readonly #sized: SizedDirectories
  readonly #defaultBytes: number | undefined

  private constructor(sized: SizedDirectories, { paths, defaultBytes }: WorkspacesOptions) {
    this.#paths = paths
    this.#sized = sized
    this.#defaultBytes = defaultBytes
  }

  static async open(options: WorkspacesOptions): Promise<Workspaces> {
    const pathOf = (key: string) => {
      const [namespace = '', id = '', attempt = ''] = key.split(':')
      return attemptFiles(options.paths, namespace, id, Number(attempt)).workspace
    }
    return new Workspaces(await SizedDirectories.open(options.root, pathOf), options)
  }

  /** An empty one, also where an attempt to make it was cut off. @throws PurserError failed_precondition when it cannot be bounded */
  async make(of: Attempt, sizeBytes = this.#defaultBytes, signal: AbortSignal): Promise<string> {
    await this.remove(of)
    const path = this.#pathOf(of)
    await mkdir(path, { recursive: true })
    if (sizeBytes !== undefined) {
      await this.#sized.make(keyOf(of), path, sizeBytes, signal)
      await rm(join(path, 'lost+found'), { recursive: true })
    }
    await chmod(path, MODE) // Whatever the umask is.
    return path
  }

  async remove(of: Attempt): Promise<void> {
    const path = this.#pathOf(of)
    await this.#sized.remove(keyOf(of), path)
    await rm(path, { recursive: true, force: true })
  }

  #pathOf({ namespace, id, attempt }: Attempt): string {
    return attemptFiles(this.#paths, namespace, id, attempt).workspace
  }
}

/** None of them has a colon. */
const keyOf = ({ namespace, id, attempt }: Attempt): string => `${namespace}:${id}:${attempt}`
