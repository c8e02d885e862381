import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { z } from 'zod'
import { command } from '../../commands/command.ts'
import { type ImageState, image } from '../../commands/image.ts'
import type { ContentStore } from '../../content/store.ts'
import { archivedImages } from '../../layout/archived-images.ts'
import { TarFile } from '../../layout/tar-file.ts'
import type { Uploads } from '../../layout/uploads.ts'
import { archiveOf, type NamedImage } from '../../layout/write-archive.ts'
import type { View } from '../../model/aggregate.ts'
import { type Digest, splitDigest } from '../../model/digest.ts'
import { PurserError, toPurserError } from '../../model/errors.ts'
import { parsePlatform } from '../../oci/platform.ts'
import { blobsOf, documentsOf, presentOf, usualManifest } from './present.ts'

const READ_BYTES = 1024 * 1024

const exported = z.object({ images: z.array(z.object({ name: z.string(), digest: z.string() })) })
const asked = z.object({ platform: z.string().optional() })

/** Archives of images on their way in and out: the data plane of `image.import` and `image.export`. */
export class ImageArchives {
  readonly #view: View
  readonly #content: ContentStore
  readonly #uploads: Uploads

  constructor(view: View, content: ContentStore, uploads: Uploads) {
    this.#view = view
    this.#content = content
    this.#uploads = uploads
  }

  append(id: string, offset: number, body: AsyncIterable<Uint8Array>, signal: AbortSignal) {
    return this.#uploads.append(id, offset, body, signal)
  }

  sizeOf(id: string): Promise<number> {
    return this.#uploads.sizeOf(id)
  }

  remove(id: string): Promise<void> {
    return this.#uploads.remove(id)
  }

  /** What an archive that was sent holds. */
  async images(id: string, baseName: string | undefined, signal: AbortSignal) {
    using upload = await this.#uploads.use(id, signal)
    await using archive = await TarFile.open(upload.path, signal)
    const found = await archivedImages(archive, baseName)
    return found.map(({ name, source }, entry) => ({
      entry,
      format: source.kind,
      ...(name === undefined ? {} : { name }),
      ...(source.kind === 'oci' ? { digest: source.target.digest } : {}),
    }))
  }

  /**
   * The archive that a command has said may be fetched.
   *
   * @throws PurserError not_found when there is no such command; failed_precondition when the images have changed since
   */
  async export(namespace: string, commandId: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const state = this.#view.get(command, namespace, commandId)
    if (state.status !== 'succeeded' || state.command.type !== 'image.export') {
      throw new PurserError('not_found', `${commandId} is no image.export that has succeeded`, {
        remedy: 'submit image.export first, and wait for it',
      })
    }
    const { platform } = asked.parse(state.command.payload)
    const documents = new Map<Digest, Uint8Array>()
    const blobs = new Map<Digest, number>()
    const images: NamedImage[] = []
    using holding = new DisposableStack()
    for (const { name, digest } of exported.parse(state.result).images) {
      const now: ImageState = this.#view.get(image, namespace, name)
      if (now.status === 'absent') throw changed(name)
      const present = await presentOf(
        this.#content,
        now.target,
        platform === undefined ? undefined : parsePlatform(platform),
      )
      if (present.descriptor.digest !== digest) throw changed(name)
      const usual = usualManifest(present)?.manifest
      if (!usual) throw new PurserError('failed_precondition', `${name} is an artifact, not an image`)
      for (const { descriptor, bytes } of documentsOf(present)) {
        documents.set(descriptor.digest, bytes)
        blobs.set(descriptor.digest, bytes.length)
      }
      for (const blob of blobsOf(present)) {
        blobs.set(blob.digest, blob.sizeBytes)
        holding.use(this.#content.hold(blob.digest))
        if (!(await this.#content.stat(blob.digest))) throw changed(name)
      }
      const layers = usual.layers.map((layer) => layer.digest)
      images.push({ name, target: present.descriptor, config: usual.config.digest, layers })
    }
    const open = (digest: Digest) => {
      const bytes = documents.get(digest)
      return bytes ? once(bytes) : checkedBytes(this.#content.path(digest), digest)
    }
    const all = [...blobs].map(([digest, sizeBytes]) => ({ digest, sizeBytes }))
    return heldWhile(archiveOf({ images, blobs: all, open }, signal), holding.move())
  }
}

async function* heldWhile(bytes: AsyncIterable<Uint8Array>, held: DisposableStack): AsyncGenerator<Uint8Array> {
  using _ = held
  yield* bytes
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

/** A blob's bytes. @throws PurserError data_loss at their end, when they are not what the digest says */
async function* checkedBytes(path: string, digest: Digest): AsyncGenerator<Uint8Array> {
  const { algorithm, hex } = splitDigest(digest)
  const hash = createHash(algorithm)
  try {
    for await (const piece of createReadStream(path, { highWaterMark: READ_BYTES })) {
      hash.update(piece)
      yield piece
    }
  } catch (error) {
    throw toPurserError(error)
  }
  if (hash.digest('hex') === hex) return
  throw new PurserError('data_loss', `content ${digest} has other bytes on disk`, { remedy: 'pull its image again' })
}

const changed = (name: string): PurserError =>
  new PurserError('failed_precondition', `image ${name} is not what it was when its export was asked for`, {
    remedy: 'submit image.export again',
  })
