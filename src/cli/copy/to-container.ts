import { closeSync, fstatSync } from 'node:fs'
import { posix } from 'node:path'
import type { PurserClient } from '../../client/index.ts'
import { byteString, cPath } from '../../host/byte-paths.ts'
import { AT_FDCWD, errnoOf, O, openat } from '../../host/syscalls.ts'
import { treeTar } from '../../layers/copy/tree-tar.ts'
import { PurserError, toPurserError } from '../../model/errors.ts'
import { type CopyOptions, kindIn, statIn } from './from-container.ts'
import { parentOf, placement } from './place.ts'

const LINKS_MAX = 16

/** A tar that comes on standard input. */
export async function fromStream(options: CopyOptions, id: string, directory: string): Promise<void> {
  await send(options, process.stdin, id, directory)
}

export async function toContainer(options: CopyOptions, path: string, id: string, target: string): Promise<void> {
  const { client, last } = options
  const source = openHere(path, last === 'follow' || /\/\.?$/.test(path))
  try {
    const isDirectory = fstatSync(source).isDirectory()
    const found = await kindIn(client, id, target)
    // Over a symlink to a file: what it leads to is written, as docker has it.
    const meant = found === 'other' ? await behindLinks(client, id, target) : target
    const placed = placement({ path, isDirectory }, meant, found)
    await send(options, treeTar(source, byteString(placed.name)), id, placed.directory)
  } catch (error) {
    throw toPurserError(error)
  } finally {
    closeSync(source)
  }
}

async function send(
  { client, owner }: CopyOptions,
  tar: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  id: string,
  path: string,
): Promise<void> {
  const ingest = await client.sendArchive(inTurns(tar))
  try {
    const payload = { ingest, path, owner: owner === 'archived' ? ('archived' as const) : ('root' as const) }
    await client.execute('container.copy', { subject: id, payload })
  } finally {
    await client.dropArchive(ingest).catch(() => {}) // It would go by itself after a while.
  }
}

function openHere(path: string, isFollowed: boolean): number {
  try {
    return openat(AT_FDCWD, cPath(byteString(path)), isFollowed ? O.PATH : O.PATH | O.NOFOLLOW)
  } catch (cause) {
    if (errnoOf(cause) !== 'ENOENT') throw toPurserError(cause)
    throw new PurserError('not_found', `there is no ${JSON.stringify(path)} here`, {
      cause,
      remedy: 'name one that is',
    })
  }
}

async function behindLinks(client: PurserClient, id: string, path: string): Promise<string> {
  let at = path
  for (let links = 0; links < LINKS_MAX; links++) {
    const { target } = await statIn(client, id, at, 'itself')
    if (target === undefined) return at
    at = target.startsWith('/') ? target : posix.join(parentOf(at), target)
  }
  throw new PurserError('failed_precondition', `${path} leads through too many symlinks`)
}

async function* inTurns(tar: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* tar
}
