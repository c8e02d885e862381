import { createHash, type Hash } from 'node:crypto'
import { constants, createReadStream } from 'node:fs'
import { type FileHandle, mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type Digest, splitDigest } from '../model/digest.ts'
import { PurserError, toPurserError } from '../model/errors.ts'
import { type ByteRange, ByteRanges } from './byte-ranges.ts'

export interface IngestRequest {
  /** What commit must find; left out, commit takes the one that it is given. */
  digest?: Digest
  /** What commit must find; left out, any size will do. */
  sizeBytes?: number
  /**
   * `here`: hash while writing. `elsewhere`: someone who reads the data file hashes it and gives `commit` the digest.
   * `here` when left out.
   */
  hash?: 'here' | 'elsewhere'
}

export interface CommitRequest {
  /** The digest of all that was written, found by a hasher that read the data file: it is not hashed again. */
  verifiedDigest?: Digest
}

export interface Ingest extends AsyncDisposable {
  readonly ref: string
  /** The data file: it only grows, except by `truncate`, and up to `offsetBytes` it can be read by others. */
  readonly path: string
  /** What has been written so far from the beginning without a gap, by earlier ingests under this reference too. */
  readonly offsetBytes: number
  /** What has been written so far in all. */
  readonly receivedBytes: number
  /** Appends; one call at a time. */
  write(...chunks: readonly Uint8Array[]): Promise<void>
  /** Writes anywhere, also at several places at once; only where the hash is made elsewhere. */
  writeAt(position: number, chunks: readonly Uint8Array[]): Promise<void>
  /** The first bytes of so many that are neither written nor among these. */
  firstGap(totalBytes: number, underWay: Iterable<ByteRange>): ByteRange | undefined
  /** Starts again from nothing. */
  truncate(sizeBytes: 0): Promise<void>
  /**
   * Makes the blob, durably, and ends the ingest. That the blob is there already is no error.
   *
   * @throws PurserError failed_precondition when bytes are missing (the ingest stays open);
   *   data_loss when there are too many or their digest is another (the ingest is gone: its bytes help nobody)
   */
  commit(request?: CommitRequest): Promise<{ digest: Digest; sizeBytes: number }>
  /** Ends it here and keeps what was written, to be resumed. Once ended, it does nothing. */
  close(): Promise<void>
  /** Ends it and drops what was written. Once ended, it does nothing. */
  abort(): Promise<void>
}

/** What an ingest needs of the store that it belongs to. */
export interface IngestPlace {
  ref: string
  dir: string
  blobPath: (digest: Digest) => string
  /** Called once, when the ingest has ended. */
  release: () => void
}

/** Opens an ingest's data file, or makes it, and goes on where it ends. @see containerd, content/local/store.go, `writer` */
export async function openIngest(place: IngestPlace, request: IngestRequest): Promise<Ingest> {
  const { dir, ref } = place
  const path = join(dir, 'data')
  const now = new Date().toISOString()
  await mkdir(dir, { mode: 0o700 }).catch(unless('EEXIST'))
  await writeFile(join(dir, 'ref'), ref, { mode: 0o600 })
  await writeFile(join(dir, 'total'), String(request.sizeBytes ?? 0), { mode: 0o600 })
  await writeFile(join(dir, 'startedat'), now, { mode: 0o600, flag: 'wx' }).catch(unless('EEXIST'))
  await writeFile(join(dir, 'updatedat'), now, { mode: 0o600 })

  const file = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600)
  try {
    let fileBytes = (await file.stat()).size
    if (request.sizeBytes !== undefined && fileBytes > request.sizeBytes) {
      await file.truncate(0)
      fileBytes = 0
    }
    let written = await readRanges(dir, fileBytes)
    if (written && request.hash !== 'elsewhere') {
      // Whoever hashes while writing only appends.
      await file.truncate(written.contiguousBytes)
      await rm(join(dir, RANGES))
      written = undefined
    }
    const hash = request.hash === 'elsewhere' ? undefined : await hashFile(path, request.digest)
    return new FileIngest(place, request, path, file, { fileBytes, written }, hash)
  } catch (error) {
    await file.close()
    throw error
  }
}

/** Beside the data of a file with gaps: what of it is there. Without it, all is. */
const RANGES = 'ranges'
/** What a crash may make one fetch again, at most, besides what was in memory. */
const UNRECORDED_BYTES_MAX = 2 * 1024 * 1024

async function readRanges(dir: string, fileBytes: number): Promise<ByteRanges | undefined> {
  try {
    return ByteRanges.parse(await readFile(join(dir, RANGES), 'utf8'), fileBytes) ?? new ByteRanges()
  } catch (error) {
    unless('ENOENT')(error)
    return undefined
  }
}

class FileIngest implements Ingest {
  readonly ref: string
  readonly path: string
  readonly #place: IngestPlace
  readonly #request: IngestRequest
  readonly #file: FileHandle
  #written: ByteRanges
  #hash: Hash | undefined
  #ended = false
  /** Once the file has had a gap. */
  #recording: Promise<void> | undefined
  #unrecordedBytes = 0

  constructor(
    place: IngestPlace,
    request: IngestRequest,
    path: string,
    file: FileHandle,
    found: { fileBytes: number; written: ByteRanges | undefined },
    hash: Hash | undefined,
  ) {
    this.ref = place.ref
    this.path = path
    this.#place = place
    this.#request = request
    this.#file = file
    this.#written = found.written ?? new ByteRanges([{ start: 0, end: found.fileBytes }])
    this.#recording = found.written && Promise.resolve()
    this.#hash = hash
  }

  get offsetBytes(): number {
    return this.#written.contiguousBytes
  }

  get receivedBytes(): number {
    return this.#written.totalBytes
  }

  firstGap(totalBytes: number, underWay: Iterable<ByteRange>): ByteRange | undefined {
    return this.#written.with(underWay).firstGap(totalBytes)
  }

  async write(...chunks: readonly Uint8Array[]): Promise<void> {
    this.#assertOpen()
    const start = this.offsetBytes
    if (this.#recording) return await this.writeAt(start, chunks)
    try {
      await writeFully(this.#file, chunks, start)
    } catch (error) {
      // Cut at what is known to be whole and hashed, so that a resume goes on from there.
      if (!this.#recording) await this.#file.truncate(start).catch(() => {})
      throw toPurserError(error)
    }
    for (const chunk of chunks) this.#hash?.update(chunk)
    this.#written.add({ start, end: start + lengthOf(chunks) })
  }

  async writeAt(position: number, chunks: readonly Uint8Array[]): Promise<void> {
    this.#assertOpen()
    if (position === this.offsetBytes && !this.#recording) return await this.write(...chunks)
    if (this.#hash) {
      throw new PurserError(
        'failed_precondition',
        `${this.ref} is hashed while it is written: it can only be appended to`,
      )
    }
    // Before the file has a gap, so that its length is never taken for what is there.
    this.#recording ??= this.#record()
    await this.#recording
    try {
      await writeFully(this.#file, chunks, position)
    } catch (error) {
      throw toPurserError(error)
    }
    const length = lengthOf(chunks)
    this.#written.add({ start: position, end: position + length })
    this.#unrecordedBytes += length
    if (this.#unrecordedBytes < UNRECORDED_BYTES_MAX) return
    this.#unrecordedBytes = 0
    this.#recording = this.#recording.then(() => this.#record())
    await this.#recording
  }

  async #record(): Promise<void> {
    const path = join(this.#place.dir, RANGES)
    await writeFile(`${path}.new`, this.#written.toString(), { mode: 0o600 })
    await rename(`${path}.new`, path)
  }

  async truncate(): Promise<void> {
    this.#assertOpen()
    await this.#file.truncate(0)
    this.#written = new ByteRanges()
    if (this.#recording) await this.#record()
    if (this.#hash) this.#hash = newHash(this.#request.digest)
  }

  async commit({ verifiedDigest }: CommitRequest = {}): Promise<{ digest: Digest; sizeBytes: number }> {
    this.#assertOpen()
    const sizeBytes = this.offsetBytes
    const expected = this.#request
    if (expected.sizeBytes !== undefined && sizeBytes < expected.sizeBytes) {
      throw new PurserError(
        'failed_precondition',
        `${this.ref}: ${sizeBytes} of ${expected.sizeBytes} bytes are there`,
        {
          remedy: 'write the rest, then commit',
        },
      )
    }
    const found = verifiedDigest ?? (await this.#digest())
    const tooLong = expected.sizeBytes !== undefined && sizeBytes > expected.sizeBytes
    if (tooLong || (expected.digest !== undefined && found !== expected.digest)) {
      await this.abort()
      const wanted = `${expected.digest ?? 'any digest'}, ${expected.sizeBytes ?? 'any number of'} bytes`
      throw new PurserError('data_loss', `${this.ref} is ${found}, ${sizeBytes} bytes; wanted is ${wanted}`, {
        remedy: 'fetch it again: what was received is dropped',
      })
    }

    try {
      await this.#makeBlob(this.#place.blobPath(found))
    } catch (error) {
      throw toPurserError(error)
    }
    await this.abort() // Only the ingest's records are left of it.
    return { digest: found, sizeBytes }
  }

  async close(): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    try {
      await this.#recording?.then(() => this.#record()).catch(() => {}) // What it says less is fetched again.
      await this.#file.close()
      await writeFile(join(this.#place.dir, 'updatedat'), new Date().toISOString(), { mode: 0o600 }).catch(() => {})
    } finally {
      this.#place.release()
    }
  }

  async abort(): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    try {
      await this.#file.close()
      await rm(this.#place.dir, { recursive: true, force: true })
    } finally {
      this.#place.release()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #digest(): Promise<Digest> {
    const hash = this.#hash ?? (await hashFile(this.path, this.#request.digest))
    const algorithm = splitDigest(this.#request.digest ?? 'sha256:').algorithm
    return `${algorithm}:${hash.copy().digest('hex')}`
  }

  /** A blob that is there already is replaced by the same bytes, fresh from their source: that heals one that has rotted. */
  async #makeBlob(blob: string): Promise<void> {
    await this.#file.truncate(this.offsetBytes) // A write that failed may have left more, past what was hashed.
    await this.#file.sync()
    await this.#file.chmod(0o444)
    await rename(this.path, blob)
    await syncDir(dirname(blob))
  }

  #assertOpen(): void {
    if (!this.#ended) return
    throw new PurserError('failed_precondition', `the ingest ${this.ref} has ended`, { remedy: 'open it again' })
  }
}

const lengthOf = (chunks: readonly Uint8Array[]): number => chunks.reduce((sum, chunk) => sum + chunk.length, 0)

async function writeFully(file: FileHandle, chunks: readonly Uint8Array[], at: number): Promise<void> {
  let position = at
  let left: Uint8Array[] = [...chunks]
  while (left.length > 0) {
    const { bytesWritten } = await file.writev(left, position)
    position += bytesWritten
    left = dropBytes(left, bytesWritten)
  }
}

/** What is left to write: the kernel may take less than it was offered. */
function dropBytes(chunks: Uint8Array[], written: number): Uint8Array[] {
  let toDrop = written
  return chunks.flatMap((chunk) => {
    const here = Math.min(toDrop, chunk.length)
    toDrop -= here
    return here === chunk.length ? [] : [chunk.subarray(here)]
  })
}

const newHash = (digest: Digest | undefined): Hash => createHash(splitDigest(digest ?? 'sha256:').algorithm)

async function hashFile(path: string, digest: Digest | undefined): Promise<Hash> {
  const hash = newHash(digest)
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk)
  return hash
}

async function syncDir(path: string): Promise<void> {
  await using dir = await open(path, constants.O_RDONLY | constants.O_DIRECTORY)
  await dir.sync()
}

/** Takes one errno as a matter of course. */
export const unless = (errno: string) => (error: unknown) => {
  if (!(error instanceof Error && 'code' in error && error.code === errno)) throw error
}
