import { stat } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { PurserClient } from '../../client/index.ts'
import { byteString } from '../../host/byte-paths.ts'
import { CopyWriter } from '../../layers/copy/write-copy.ts'
import { errorCodeOf, PurserError, toPurserError } from '../../model/errors.ts'
import { nameOf, placement } from './place.ts'

export interface CopyOptions {
  client: PurserClient
  owner: 'archived' | 'plain'
  /** Whether a symlink that is the source is followed. */
  last: 'follow' | 'itself'
}

const resource = (id: string, what: 'archive' | 'stat'): string => `/v1/containers/${encodeURIComponent(id)}/${what}`

/** What is at a path in a container. @throws PurserError not_found */
export const statIn = (client: PurserClient, id: string, path: string, last: 'follow' | 'itself') =>
  client.get<{ type: string; target?: string }>(resource(id, 'stat'), { path, follow: String(last === 'follow') })

/** The tar itself. */
export async function toStream({ client, last }: CopyOptions, id: string, path: string): Promise<void> {
  if (process.stdout.isTTY) {
    throw new PurserError('invalid_argument', 'a tar is not written to a terminal', {
      remedy: 'redirect it: purser cp CONTAINER:PATH - > files.tar',
    })
  }
  const bytes = client.download(resource(id, 'archive'), { path, follow: String(last === 'follow') })
  await pipeline(Readable.from(bytes, { objectMode: false }), process.stdout, { end: false })
}

/**
 * Writes what a tar from a container has below one directory here, whatever the container has put into it: no name and no
 * symlink leads out of there.
 */
export async function fromContainer(options: CopyOptions, id: string, path: string, target: string): Promise<void> {
  const { client, last, owner } = options
  const { type } = await statIn(client, id, path, last)
  const found = await kindOf(target)
  const placed = placement({ path, isDirectory: type === 'directory' }, target, found)
  // What is in a directory, as a directory of another name.
  const asked = placed.name === '.' ? path : path.replace(/(?<=.)\/\.$/, '')
  const name = nameOf(asked)
  const isRenamed = placed.name !== '.' && placed.name !== name
  const isRoot = process.getuid?.() === 0
  using writer = writerAt({
    root: placed.directory,
    directory: '',
    owner: owner === 'archived' ? 'as-archived' : { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 },
    privileges: owner === 'archived' ? 'keep' : 'drop',
    xattrs: isRoot ? 'all' : 'user',
    ...(isRenamed ? { rename: { from: byteString(name), to: byteString(placed.name) } } : {}),
  })
  const bytes = client.download(resource(id, 'archive'), { path: asked, follow: String(last === 'follow') })
  for await (const piece of bytes) writer.write(Buffer.from(piece.buffer, piece.byteOffset, piece.length))
  writer.end()
}

function writerAt(target: ConstructorParameters<typeof CopyWriter>[0]): CopyWriter {
  try {
    return new CopyWriter(target)
  } catch (cause) {
    if (!(cause instanceof Error) || !('code' in cause) || cause.code !== 'ENOENT') throw toPurserError(cause)
    throw new PurserError('not_found', `there is no directory ${target.root}`, { cause, remedy: 'make it first' })
  }
}

async function kindOf(path: string): Promise<'directory' | 'other' | 'nothing'> {
  try {
    return (await stat(path)).isDirectory() ? 'directory' : 'other'
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return 'nothing'
    throw toPurserError(error)
  }
}

/** As kindOf, in a container; a symlink stands for what it leads to. */
export async function kindIn(client: PurserClient, id: string, path: string) {
  try {
    return (await statIn(client, id, path, 'follow')).type === 'directory' ? 'directory' : 'other'
  } catch (error) {
    if (errorCodeOf(error) === 'not_found') return 'nothing'
    throw error
  }
}
