import { createReadStream, createWriteStream } from 'node:fs'
import { rename, rm, stat } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { PurserError, toPurserError } from '../../model/errors.ts'

/** Writes an archive to a file, or to standard output where none is named. */
export async function writeArchive(archive: AsyncIterable<Uint8Array>, file: string | undefined): Promise<void> {
  const bytes = Readable.from(archive, { objectMode: false })
  if (file === undefined) await pipeline(bytes, process.stdout, { end: false })
  else if (await isSpecial(file)) await pipeline(bytes, createWriteStream(file))
  else await writeWhole(bytes, file)
}

/** @param example of a command line that redirects it */
export function requireNoTerminal(file: string | undefined, example: string): void {
  if (file !== undefined || !process.stdout.isTTY) return
  throw new PurserError('invalid_argument', 'an archive is not written to a terminal', {
    remedy: `name a file with -o, or redirect: ${example}`,
  })
}

/** A pipe or a device: nothing can take its place. */
async function isSpecial(file: string): Promise<boolean> {
  return await stat(file).then(
    (found) => !found.isFile(),
    () => false,
  )
}

/** Under another name until it is whole: a file that is there is not half an archive. */
async function writeWhole(bytes: Readable, file: string): Promise<void> {
  const partial = `${file}.${process.pid}.part`
  try {
    await pipeline(bytes, createWriteStream(partial, { flags: 'wx', mode: 0o600, flush: true }))
    await rename(partial, file)
  } catch (error) {
    await rm(partial, { force: true })
    throw toPurserError(error)
  }
}

/** @param remedy where there is no such file */
export async function* readArchiveFile(file: string, remedy: string): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream(file, { highWaterMark: 1 << 20 })
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw toPurserError(error)
    throw new PurserError('not_found', `there is no file ${file}`, { remedy })
  }
}
