import { createHash, randomUUID } from 'node:crypto'
import { unlinkSync } from 'node:fs'
import { mkdir, open, opendir, readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { DIGEST_ALGORITHMS, type Digest, isDigest, splitDigest } from '../model/digest.ts'
import { PurserError, toPurserError } from '../model/errors.ts'
import { type Ingest, type IngestRequest, openIngest } from './ingest.ts'

export interface BlobInfo {
  digest: Digest
  sizeBytes: number
  /** Unix time in milliseconds. */
  createdAtMs: number
}

export interface IngestInfo {
  ref: string
  offsetBytes: number
  /** What it is to become; 0 when nobody said. */
  totalBytes: number
  /** Unix time in milliseconds. */
  startedAtMs: number
  /** Unix time in milliseconds. */
  updatedAtMs: number
}

const DOCUMENT_REF = 'document-'

/**
 * Blobs by digest and ingests by reference, laid out on disk as containerd has them: `blobs/<algorithm>/<hex>`,
 * `ingest/<sha256 of the reference>/{data,ref,total,startedat,updatedat}`. A blob that is there is whole and as its
 * digest says; only one process writes at a time.
 *
 * @see containerd, content/local/store.go
 */
export class ContentStore {
  readonly #root: string
  readonly #writing = new Set<string>()
  readonly #held = new Map<Digest, number>()

  private constructor(root: string) {
    this.#root = root
  }

  /** Makes the directories where they are missing, and drops what a crash left of ingests that had hardly begun or just ended. */
  static async open(root: string): Promise<ContentStore> {
    for (const algorithm of DIGEST_ALGORITHMS)
      await mkdir(join(root, 'blobs', algorithm), { recursive: true, mode: 0o700 })
    await mkdir(join(root, 'ingest'), { recursive: true, mode: 0o700 })
    const store = new ContentStore(root)
    await store.#dropUselessIngests()
    return store
  }

  /** Where the blob is or would be; the name holds only the digest's own hex. */
  path(digest: Digest): string {
    const { algorithm, hex } = splitDigest(digest)
    return join(this.#root, 'blobs', algorithm, hex)
  }

  async stat(digest: Digest): Promise<{ sizeBytes: number } | undefined> {
    const info = await present(stat(this.path(digest)))
    return info && { sizeBytes: info.size }
  }

  /**
   * A whole blob in memory, its digest checked.
   *
   * @throws PurserError not_found; resource_exhausted when it is larger than `maxBytes`; data_loss when it has rotted
   */
  async read(digest: Digest, { maxBytes }: { maxBytes: number }): Promise<Buffer> {
    const file = await present(open(this.path(digest)))
    if (!file) throw new PurserError('not_found', `content ${digest} is not in the store`, { remedy: 'pull its image' })
    await using _ = file
    const { size } = await file.stat()
    if (size > maxBytes) {
      throw new PurserError(
        'resource_exhausted',
        `content ${digest} has ${size} bytes, more than the ${maxBytes} allowed`,
        {
          remedy: 'read it in parts, from its file',
        },
      )
    }
    const bytes = await file.readFile()
    assertDigest(bytes, digest, 'remove it from the store and pull its image again')
    return bytes
  }

  /**
   * Stores bytes that are in memory already, such as a manifest.
   *
   * @throws PurserError data_loss when they are not what the digest says
   */
  async writeDocument(bytes: Uint8Array, digest: Digest): Promise<void> {
    assertDigest(bytes, digest, 'fetch it again')
    if (await this.stat(digest)) return
    const sizeBytes = bytes.length
    const ref = `${DOCUMENT_REF}${digest}-${randomUUID()}` // Its own, as two may store the same document at once.
    const ingest = await this.ingest(ref, { digest, sizeBytes, hash: 'elsewhere' })
    try {
      await ingest.truncate(0)
      await ingest.write(bytes)
      await ingest.commit({ verifiedDigest: digest })
    } finally {
      await ingest.abort()
    }
  }

  /**
   * Begins to write a blob, or goes on where the last one under this reference ended.
   *
   * @throws PurserError unavailable while another one under this reference is open
   */
  async ingest(ref: string, request: IngestRequest = {}): Promise<Ingest> {
    if (ref === '') throw new PurserError('invalid_argument', 'an ingest has a reference', { remedy: 'name one' })
    if (this.#writing.has(ref)) {
      throw new PurserError('unavailable', `the ingest ${JSON.stringify(ref)} is being written by another request`, {
        remedy: 'wait for that one to end, then try again',
      })
    }
    this.#writing.add(ref)
    const release = () => this.#writing.delete(ref)
    try {
      return await openIngest(
        { ref, dir: this.#ingestDir(ref), blobPath: (digest) => this.path(digest), release },
        request,
      )
    } catch (error) {
      release()
      throw toPurserError(error)
    }
  }

  /** All blobs, in no order; one that goes away meanwhile may be missing. */
  async *list(): AsyncGenerator<BlobInfo, void, void> {
    for (const algorithm of DIGEST_ALGORITHMS) {
      for await (const { name } of await opendir(join(this.#root, 'blobs', algorithm))) {
        const digest = `${algorithm}:${name}`
        if (!isDigest(digest)) continue
        const info = await present(stat(this.path(digest)))
        if (info) yield { digest, sizeBytes: info.size, createdAtMs: info.mtimeMs }
      }
    }
  }

  /** All ingests that are open or can be resumed, in no order. */
  async *ingests(): AsyncGenerator<IngestInfo, void, void> {
    for (const name of await readdir(join(this.#root, 'ingest'))) {
      const dir = join(this.#root, 'ingest', name)
      const [ref, total, startedAt, data] = await Promise.all([
        present(readFile(join(dir, 'ref'), 'utf8')),
        present(readFile(join(dir, 'total'), 'utf8')),
        present(readFile(join(dir, 'startedat'), 'utf8')),
        present(stat(join(dir, 'data'))),
      ])
      if (ref === undefined || data === undefined) continue
      yield {
        ref,
        offsetBytes: data.size,
        totalBytes: Number(total) || 0,
        startedAtMs: Date.parse(startedAt ?? '') || data.birthtimeMs,
        updatedAtMs: data.mtimeMs,
      }
    }
  }

  /**
   * Keeps a blob, or one that is to come, from being removed: for whoever looks whether it is there, and then relies on
   * it. Disposed, that ends.
   */
  hold(digest: Digest): Disposable {
    this.#held.set(digest, (this.#held.get(digest) ?? 0) + 1)
    return {
      [Symbol.dispose]: () => {
        const left = (this.#held.get(digest) ?? 1) - 1
        if (left > 0) this.#held.set(digest, left)
        else this.#held.delete(digest)
      },
    }
  }

  isHeld(digest: Digest): boolean {
    return this.#held.has(digest)
  }

  /** Removes a blob that is there, unless somebody holds it. @returns whether it did */
  remove(digest: Digest): boolean {
    if (this.#held.has(digest)) return false
    try {
      unlinkSync(this.path(digest)) // At once: nobody can come to hold it in between.
      return true
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false
      throw toPurserError(error)
    }
  }

  /**
   * Drops what an ingest has written; one that is not there is no error.
   *
   * @throws PurserError unavailable while it is open
   */
  async removeIngest(ref: string): Promise<void> {
    if (this.#writing.has(ref)) {
      throw new PurserError('unavailable', `the ingest ${JSON.stringify(ref)} is being written`, {
        remedy: 'end the request that writes it first',
      })
    }
    await rm(this.#ingestDir(ref), { recursive: true, force: true })
  }

  /** Bytes that an ingest has on the disk, open or to be resumed; 0 when there is none. */
  async ingestedBytes(ref: string): Promise<number> {
    const data = await present(stat(join(this.#ingestDir(ref), 'data')))
    return data === undefined ? 0 : Math.min(data.size, data.blocks * 512)
  }

  #ingestDir(ref: string): string {
    return join(this.#root, 'ingest', createHash('sha256').update(ref).digest('hex'))
  }

  /**
   * Without a reference nobody finds it; without data it is new, or its data has become the blob; and a document's is for the
   * process that made it alone.
   */
  async #dropUselessIngests(): Promise<void> {
    for (const name of await readdir(join(this.#root, 'ingest'))) {
      const dir = join(this.#root, 'ingest', name)
      const [ref, data] = await Promise.all([
        present(readFile(join(dir, 'ref'), 'utf8')),
        present(stat(join(dir, 'data'))),
      ])
      if (!ref || !data || ref.startsWith(DOCUMENT_REF)) await rm(dir, { recursive: true, force: true })
    }
  }
}

function assertDigest(bytes: Uint8Array, digest: Digest, remedy: string): void {
  const { algorithm } = splitDigest(digest)
  const found = `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`
  if (found === digest) return
  throw new PurserError('data_loss', `content ${digest} is ${found}, ${bytes.length} bytes`, { remedy })
}

/** What a call on a path gives, or undefined when nothing is there. */
async function present<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR'))
      return undefined
    throw toPurserError(error)
  }
}
