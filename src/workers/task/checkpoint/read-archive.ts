import { createHash, type Hash } from 'node:crypto'
import { closeSync, constants, createReadStream, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { byteString, printable } from '../../../host/byte-paths.ts'
import { DEFAULT_LIMITS } from '../../../layers/limits.ts'
import type { TarEntry } from '../../../layers/tar/header.ts'
import { TarReader, type TarSink } from '../../../layers/tar/reader.ts'
import { errorCodeOf } from '../../../model/errors.ts'
import type { NodeSignatures } from '../../../secrets/node-signatures.ts'
import { type ArchiveManifest, MANIFEST_BYTES_MAX, MANIFEST_NAME, notAnArchive, openManifest } from './archive.ts'

const PIECE_BYTES = 256 * 1024
const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW

/**
 * Writes the files of an archive below a directory that nobody else knows yet, with `images` in it. Of what the tar says nothing
 * is believed: its first entry has to be signed by a trusted node, and lists what follows by name, size and digest. Only
 * that is written, as plain files of root's.
 *
 * @param check sees the manifest before anything is written, and may throw
 * @throws PurserError permission_denied, data_loss; what is written by then is the caller's to remove
 */
export async function readArchive(
  path: string,
  target: string,
  signatures: NodeSignatures,
  check: (manifest: ArchiveManifest) => void,
  signal: AbortSignal,
): Promise<ArchiveManifest> {
  using sink = new ArchiveSink(target, (bytes) => {
    const manifest = openManifest(bytes, signatures)
    check(manifest)
    return manifest
  })
  const reader = new TarReader(sink, DEFAULT_LIMITS)
  try {
    for await (const piece of createReadStream(path, { highWaterMark: PIECE_BYTES, signal })) reader.write(piece)
    reader.end()
  } catch (error) {
    signal.throwIfAborted()
    if (errorCodeOf(error) !== 'data_loss' || sink.hasRefused) throw error
    throw notAnArchive('it is no tar', error)
  }
  return sink.whole()
}

interface OpenFile {
  fd: number
  hash: Hash
  listed: ArchiveManifest['files'][number]
}

class ArchiveSink implements TarSink, Disposable {
  hasRefused = false
  readonly #target: string
  readonly #open: (manifest: Buffer) => ArchiveManifest
  readonly #missing = new Map<string, ArchiveManifest['files'][number]>()
  #manifest: ArchiveManifest | undefined
  /** Of the manifest, until all of it is there. */
  #pieces: Buffer[] | undefined
  #file: OpenFile | undefined

  constructor(target: string, open: (manifest: Buffer) => ArchiveManifest) {
    this.#target = target
    this.#open = open
  }

  entry({ path, type, sizeBytes, sparse }: TarEntry): void {
    if (type !== 'file' || sparse !== undefined) throw this.#refusal(`${printable(path)} is no plain file`)
    if (this.#manifest === undefined) {
      if (path !== byteString(MANIFEST_NAME)) throw this.#refusal(`it does not begin with its manifest`)
      if (sizeBytes > MANIFEST_BYTES_MAX) throw this.#refusal(`its manifest has ${sizeBytes} bytes`)
      this.#pieces = []
      return
    }
    const listed = this.#missing.get(path)
    if (listed === undefined) throw this.#refusal(`${printable(path)} is not listed, or there twice`)
    if (listed.sizeBytes !== sizeBytes) throw this.#refusal(`${path} has ${sizeBytes} bytes, not ${listed.sizeBytes}`)
    this.#missing.delete(path)
    this.#file = { fd: openSync(join(this.#target, listed.name), NEW_FILE, 0o600), hash: createHash('sha256'), listed }
  }

  data(piece: Buffer): void {
    if (this.#pieces !== undefined) this.#pieces.push(Buffer.from(piece))
    if (this.#file === undefined) return
    this.#file.hash.update(piece)
    for (let written = 0; written < piece.length; ) written += writeSync(this.#file.fd, piece, written)
  }

  entryEnd(): void {
    if (this.#pieces !== undefined) {
      this.#manifest = this.#openManifest(Buffer.concat(this.#pieces))
      for (const listed of this.#manifest.files) this.#missing.set(listed.name, listed)
      this.#pieces = undefined
    }
    if (this.#file === undefined) return
    const { hash, listed } = this.#file
    this[Symbol.dispose]()
    if (`sha256:${hash.digest('hex')}` !== listed.digest) throw this.#refusal(`${listed.name} was altered`)
  }

  /** The manifest of what was written. @throws PurserError data_loss where something is missing */
  whole(): ArchiveManifest {
    if (this.#manifest === undefined) throw notAnArchive('it is empty')
    const [missing] = this.#missing.keys()
    if (missing !== undefined) throw notAnArchive(`${missing} is missing`)
    return this.#manifest
  }

  [Symbol.dispose](): void {
    if (this.#file !== undefined) closeSync(this.#file.fd)
    this.#file = undefined
  }

  #openManifest(bytes: Buffer): ArchiveManifest {
    try {
      return this.#open(bytes)
    } catch (error) {
      this.hasRefused = true
      throw error
    }
  }

  #refusal(why: string) {
    this.hasRefused = true
    return notAnArchive(why)
  }
}
