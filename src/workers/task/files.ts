import { posix } from 'node:path'
import { byteString } from '../../host/byte-paths.ts'
import { copyOut, statusIn } from '../../layers/copy/copy.ts'
import { PurserError } from '../../model/errors.ts'
import type { FileStatus } from '../../model/file-status.ts'
import type { ContainerRoots } from './roots.ts'

/** Files of containers for whoever copies them out. */
export class ContainerFiles {
  readonly #roots: ContainerRoots

  constructor(roots: ContainerRoots) {
    this.#roots = roots
  }

  /** @throws PurserError not_found */
  async status(
    namespace: string,
    id: string,
    path: string,
    last: 'follow' | 'itself',
    signal: AbortSignal,
  ): Promise<FileStatus> {
    const asked = pathOf(path, last)
    const { fd, covered, release } = await this.#roots.open(namespace, id, 'read', signal)
    return await statusIn({ root: fd, covered, path: asked.path, last: asked.last }, release, signal)
  }

  /**
   * A file or directory as a tar, in which it has its own name; a path that ends in `/.` stands for what is in the directory.
   *
   * @throws PurserError not_found, before the first byte
   */
  async *read(
    namespace: string,
    id: string,
    path: string,
    last: 'follow' | 'itself',
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array, void, void> {
    const asked = pathOf(path, last)
    const { fd, covered, release } = await this.#roots.open(namespace, id, 'read', signal)
    yield* copyOut({ root: fd, covered, ...asked }, release, signal)
  }
}

function pathOf(path: string, last: 'follow' | 'itself') {
  if (!path.startsWith('/')) {
    throw new PurserError('invalid_argument', `${JSON.stringify(path)} is not a path in a container`, {
      field: 'path',
      remedy: 'begin it with /',
    })
  }
  const isContent = path === '/' || /\/\.?$/.test(path)
  const clean = posix.normalize(path).replace(/(?<=.)\/$/, '')
  const name = path.endsWith('/.') || clean === '/' ? '.' : posix.basename(clean)
  return { path: byteString(path), last: isContent ? ('follow' as const) : last, name: byteString(name) }
}
