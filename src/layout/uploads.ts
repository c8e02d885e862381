import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { detectCompression, MAGIC_BYTES } from '../layers/compression.ts'
import { PurserError, toPurserError } from '../model/errors.ts'

const ID = /^[A-Za-z0-9][A-Za-z0-9-]{0,63}$/
/** Whoever has not used an archive by then will not come back for it. */
const KEPT_MS = 60 * 60 * 1000
const UPLOADS_MAX = 64

/**
 * Archives on their way in: files that clients write in pieces, and that commands then read. They are kept for an hour after
 * their last use.
 */
export class Uploads {
  readonly #dir: string
  readonly #bytesMax: number
  /** Ids in use, with how often; a writer is alone. */
  readonly #users = new Map<string, number>()

  private constructor(dir: string, bytesMax: number) {
    this.#dir = dir
    this.#bytesMax = bytesMax
  }

  static async open(dir: string, bytesMax: number): Promise<Uploads> {
    await mkdir(dir, { recursive: true, mode: 0o700 })
    const uploads = new Uploads(dir, bytesMax)
    await uploads.#dropOld()
    return uploads
  }

  /**
   * Appends to an archive, or begins one.
   *
   * @param offset what is there already: 0 begins it, also anew
   * @throws PurserError failed_precondition when another number of bytes is there; resource_exhausted beyond the limit
   */
  async append(
    id: string,
    offset: number,
    body: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<{ sizeBytes: number }> {
    using _ = this.#lock(checked(id))
    if (offset === 0) await this.#makeRoom()
    const file = await open(join(this.#dir, id), offset === 0 ? 'w' : 'a', 0o600).catch(failed)
    await using _file = file
    const before = (await file.stat()).size
    if (before !== offset) {
      throw new PurserError('failed_precondition', `ingest ${id} has ${before} bytes, not ${offset}`, {
        remedy: `go on at ${before}, or begin anew at 0`,
        field: 'offset',
      })
    }
    let sizeBytes = offset
    for await (const piece of body) {
      signal.throwIfAborted()
      sizeBytes += piece.length
      if (sizeBytes > this.#bytesMax) throw this.#tooLarge()
      await file.appendFile(piece).catch(failed)
    }
    return { sizeBytes }
  }

  /** @throws PurserError not_found */
  async sizeOf(id: string): Promise<number> {
    return (await stat(join(this.#dir, checked(id))).catch(absent(id))).size
  }

  /** One that is not there is no error. */
  async remove(id: string): Promise<void> {
    using _ = this.#lock(checked(id))
    await rm(join(this.#dir, id), { force: true })
  }

  /**
   * The archive as a plain tar, for as long as the result is not disposed of.
   *
   * @throws PurserError not_found; resource_exhausted when it unpacks to more than the limit
   */
  async use(id: string, signal: AbortSignal): Promise<{ path: string } & Disposable> {
    const path = join(this.#dir, checked(id))
    await stat(path).catch(absent(id))
    const begin = await beginOf(path)
    const compression = detectCompression(begin)
    if (compression !== 'none') {
      using _ = this.#lock(id)
      await this.#decompress(path, compression === 'gzip' ? createGunzip() : createZstdDecompress(), signal)
    }
    if (this.#users.get(id) === Number.POSITIVE_INFINITY) throw busy(id)
    this.#users.set(id, (this.#users.get(id) ?? 0) + 1)
    return {
      path,
      [Symbol.dispose]: () => {
        const left = (this.#users.get(id) ?? 1) - 1
        if (left > 0) this.#users.set(id, left)
        else this.#users.delete(id)
      },
    }
  }

  async #decompress(path: string, decoder: NodeJS.ReadWriteStream, signal: AbortSignal): Promise<void> {
    const plain = `${path}.tar`
    try {
      await pipeline(createReadStream(path), decoder, this.#counter(), createWriteStream(plain, { mode: 0o600 }), {
        signal,
      })
      await rename(plain, path)
    } catch (error) {
      await rm(plain, { force: true })
      signal.throwIfAborted()
      if (error instanceof Error && 'code' in error && /^(?:Z_|ZSTD_|ERR_ZSTD)/.test(String(error.code))) {
        throw new PurserError('data_loss', 'the archive cannot be decompressed', {
          cause: error,
          remedy: 'send it again, whole',
        })
      }
      throw toPurserError(error)
    }
  }

  #counter(): Transform {
    let bytes = 0
    return new Transform({
      transform: (piece: Buffer, _encoding, done) => {
        bytes += piece.length
        if (bytes > this.#bytesMax) done(this.#tooLarge())
        else done(null, piece)
      },
    })
  }

  #tooLarge(): PurserError {
    return new PurserError('resource_exhausted', `the archive has more than the ${this.#bytesMax} bytes allowed`, {
      remedy: 'raise archiveBytes in [images] of the configuration',
    })
  }

  #lock(id: string): Disposable {
    if (this.#users.has(id)) throw busy(id)
    this.#users.set(id, Number.POSITIVE_INFINITY)
    return { [Symbol.dispose]: () => void this.#users.delete(id) }
  }

  async #makeRoom(): Promise<void> {
    await this.#dropOld()
    if ((await readdir(this.#dir)).length <= UPLOADS_MAX) return
    throw new PurserError('resource_exhausted', `there are ${UPLOADS_MAX} archives that nobody has loaded yet`, {
      remedy: 'load or delete them: DELETE /v1/ingests/{id}',
    })
  }

  async #dropOld(): Promise<void> {
    for (const name of await readdir(this.#dir)) {
      const path = join(this.#dir, name)
      const info = await stat(path).catch(() => undefined)
      if (!info || this.#users.has(name.replace(/\.tar$/, ''))) continue
      if (Date.now() - Math.max(info.mtimeMs, info.atimeMs) > KEPT_MS) await rm(path, { force: true })
    }
  }
}

function checked(id: string): string {
  if (ID.test(id)) return id
  throw new PurserError('invalid_argument', `${JSON.stringify(id.slice(0, 100))} is not the id of an ingest`, {
    remedy: 'use letters, digits and hyphens, 64 at most, such as a UUID',
    field: 'id',
  })
}

async function beginOf(path: string): Promise<Buffer> {
  await using file = await open(path)
  const buffer = Buffer.alloc(MAGIC_BYTES)
  const { bytesRead } = await file.read(buffer, 0, MAGIC_BYTES, 0)
  return buffer.subarray(0, bytesRead)
}

const busy = (id: string): PurserError =>
  new PurserError('unavailable', `ingest ${id} is in use by another request`, { remedy: 'wait for that one to end' })

const failed = (error: unknown): never => {
  throw toPurserError(error)
}

const absent =
  (id: string) =>
  (error: unknown): never => {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw toPurserError(error)
    throw new PurserError('not_found', `there is no ingest ${id}`, {
      remedy: `send the archive: PUT /v1/ingests/${id}`,
    })
  }
