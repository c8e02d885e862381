import { content } from '../../commands/content.ts'
import type { ImageTarget } from '../../commands/image.ts'
import type { ReservedSpace } from '../../content/disk-space.ts'
import { detectCompression, MAGIC_BYTES } from '../../layers/compression.ts'
import type { DockerSource, LayoutSource } from '../../layout/archived-images.ts'
import type { TarFile } from '../../layout/tar-file.ts'
import { mapLimited } from '../../model/concurrency.ts'
import { type Digest, digestOf, splitDigest } from '../../model/digest.ts'
import { PurserError } from '../../model/errors.ts'
import { type ImageConfig, parseImageConfig } from '../../oci/image-config.ts'
import { type Descriptor, parseManifestDocument } from '../../oci/manifest.ts'
import { isIndexType, isManifestType, MEDIA_TYPES } from '../../oci/media-types.ts'
import { formatPlatform, type Platform, selectManifest } from '../../oci/platform.ts'
import type { Job } from '../../queue/handler.ts'
import { DOCUMENT_BYTES_MAX } from '../../registry/client.ts'
import type { PullEffects } from './effects.ts'
import { checkLayers, parseConfig } from './resolve.ts'

const LAYER = 'application/vnd.oci.image.layer.v1.tar'
const INDEX_DEPTH_MAX = 4
const BLOBS_AT_ONCE = 3

/** Brings what an image needs from the archive into the content store. */
export class ArchiveReader {
  readBytes = 0
  readonly #job: Job<unknown, unknown, PullEffects>
  readonly #archive: TarFile
  readonly #held: DisposableStack

  constructor(job: Job<unknown, unknown, PullEffects>, archive: TarFile, held: DisposableStack) {
    this.#job = job
    this.#archive = archive
    this.#held = held
  }

  async layout({ target }: LayoutSource, platform: Platform): Promise<ImageTarget> {
    let at: Descriptor = target
    for (let depth = 0; depth < INDEX_DEPTH_MAX; depth++) {
      const document = parseManifestDocument(await this.#document(at), at.mediaType)
      if (document.kind === 'index') {
        const here = document.manifests.filter(({ digest }) => this.#archive.has(pathOf(digest)))
        at = selectManifest(here, platform)
        continue
      }
      const config = parseConfig(document.config, await this.#document(document.config))
      checkLayers(document, config, 'fetch')
      const { signal } = this.#job
      const rooms = await this.#reserve(document.layers.map(({ digest }) => ({ path: pathOf(digest), digest })))
      const layers = await mapLimited(document.layers, BLOBS_AT_ONCE, signal, async (layer, within, index) => {
        const { digest, sizeBytes } = layer
        const diffId = config.diffIds[index] ?? digest
        await this.#layer(pathOf(digest), { expected: digest, sizeBytes, diffId, index, room: rooms[index] }, within)
        await this.#record(layer)
        return { ...bare(layer), diffId }
      })
      return {
        target: bare(target),
        platform: formatPlatform(config.platform),
        manifest: bare(at),
        config: bare(document.config),
        layers,
      }
    }
    throw new PurserError('invalid_argument', `the index ${target.digest} is nested more than ${INDEX_DEPTH_MAX} deep`)
  }

  /** What `docker save` leaves out is made: digests of the layers as they lie there, and a manifest of them. */
  async docker(source: DockerSource): Promise<ImageTarget> {
    const bytes = await this.#archive.read(source.config, DOCUMENT_BYTES_MAX)
    const config = parseImageConfig(bytes)
    checkCount(source, config)
    const { signal } = this.#job
    const rooms = await this.#reserve(source.layers.map((path) => ({ path })))
    const layers = await mapLimited(config.diffIds, BLOBS_AT_ONCE, signal, async (diffId, within, index) => {
      const path = source.layers[index] ?? ''
      const { digest, sizeBytes } = await this.#layer(path, { diffId, index, room: rooms[index] }, within)
      const layer = { mediaType: await this.#mediaType(path), digest, sizeBytes }
      await this.#record(layer)
      return { ...layer, diffId }
    })
    const described = await this.#made(bytes, MEDIA_TYPES.ociConfig)
    const manifest = {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociManifest,
      config: written(described),
      layers: layers.map(written),
    }
    const target = await this.#made(Buffer.from(JSON.stringify(manifest)), MEDIA_TYPES.ociManifest)
    return { target, platform: formatPlatform(config.platform), manifest: target, config: described, layers }
  }

  /**
   * What an index names besides the platform that was taken, as far as the archive has it: it is stored, not unpacked.
   *
   * @returns the digests of all that belongs to it
   */
  async others({ target }: LayoutSource, chosen: Digest): Promise<Digest[]> {
    const documents = new Set<Digest>()
    const blobs = new Map<Digest, Descriptor>()
    const visit = async (descriptor: Descriptor): Promise<void> => {
      const { digest, mediaType } = descriptor
      if (digest === chosen || documents.has(digest) || !this.#archive.has(pathOf(digest))) return
      if (!isIndexType(mediaType) && !isManifestType(mediaType)) return void blobs.set(digest, descriptor)
      documents.add(digest)
      const document = parseManifestDocument(await this.#document(descriptor), mediaType)
      if (document.kind === 'index') for (const each of document.manifests) await visit(each)
      else for (const each of [document.config, ...document.layers]) blobs.set(each.digest, each)
    }
    await visit(target)
    const list = [...blobs.values()]
    const rooms = await this.#reserve(list.map(({ digest }) => ({ path: pathOf(digest), digest })))
    await mapLimited(list, BLOBS_AT_ONCE, this.#job.signal, async (descriptor, within, index) => {
      await this.#blob(descriptor, rooms[index], within)
    })
    return [...documents, ...blobs.keys()]
  }

  /** Room for what is not in the store: all of it, or an error before anything is written. */
  async #reserve(files: readonly { path: string; digest?: Digest }[]): Promise<ReservedSpace[]> {
    const { content: store, disk } = this.#job.effects
    const sizes = await Promise.all(
      files.map(async ({ path, digest }) =>
        digest !== undefined && (await store.stat(digest)) ? 0 : (this.#archive.sizeOf(path) ?? 0),
      ),
    )
    const rooms = await disk.reserve(`loading ${this.#job.id}`, sizes)
    for (const room of rooms) this.#held.use(room)
    return rooms
  }

  async #blob(descriptor: Descriptor, room: ReservedSpace | undefined, signal: AbortSignal): Promise<void> {
    const { digest, sizeBytes } = descriptor
    const { content: store } = this.#job.effects
    this.#held.use(store.hold(digest))
    if (!(await store.stat(digest))) {
      const ingest = await store.ingest(`import-${this.#job.command.id}-${digest}`, { digest, sizeBytes })
      try {
        await ingest.truncate(0)
        for await (const piece of this.#archive.chunks(pathOf(digest))) {
          signal.throwIfAborted()
          await ingest.write(piece)
          room?.used(ingest.offsetBytes)
        }
        await ingest.commit()
        this.readBytes += sizeBytes
      } finally {
        await ingest.abort()
      }
    }
    await this.#record(descriptor)
  }

  async #document(descriptor: Descriptor): Promise<Buffer> {
    const { digest, sizeBytes } = descriptor
    const { content: store } = this.#job.effects
    this.#held.use(store.hold(digest))
    const bytes = await this.#archive.read(pathOf(digest), DOCUMENT_BYTES_MAX)
    if (bytes.length !== sizeBytes) throw wrongSize(digest, sizeBytes, bytes.length)
    if (!(await store.stat(digest))) this.readBytes += sizeBytes
    await store.writeDocument(bytes, digest)
    await this.#record(descriptor)
    return bytes
  }

  async #made(bytes: Buffer, mediaType: string): Promise<Descriptor> {
    const descriptor = { mediaType, digest: digestOf(bytes), sizeBytes: bytes.length }
    const { content: store } = this.#job.effects
    this.#held.use(store.hold(descriptor.digest))
    await store.writeDocument(bytes, descriptor.digest)
    await this.#record(descriptor)
    return descriptor
  }

  /** A layer becomes a blob once both of its digests hold. */
  async #layer(
    path: string,
    wanted: {
      expected?: Digest
      sizeBytes?: number
      diffId: Digest
      index: number
      room: ReservedSpace | undefined
    },
    signal: AbortSignal,
  ): Promise<{ digest: Digest; sizeBytes: number }> {
    const { expected, sizeBytes, diffId, index, room } = wanted
    const { effects, command } = this.#job
    const { content: store, layers: pool } = effects
    const there = this.#archive.sizeOf(path)
    if (expected !== undefined) {
      this.#held.use(store.hold(expected))
      const stored = await store.stat(expected)
      if (stored) return { digest: expected, sizeBytes: stored.sizeBytes }
      if (there !== undefined && there !== sizeBytes) throw wrongSize(expected, sizeBytes ?? 0, there)
    }
    const ref = `import-${command.id}-${index}`
    const ingest = await store.ingest(ref, {
      hash: 'elsewhere',
      ...(expected === undefined ? {} : { digest: expected }),
    })
    try {
      await ingest.truncate(0)
      for await (const piece of this.#archive.chunks(path)) {
        signal.throwIfAborted()
        await ingest.write(piece)
        room?.used(ingest.offsetBytes)
      }
      const { algorithm } = splitDigest(expected ?? 'sha256:')
      const source = { path: ingest.path, sizeBytes: ingest.offsetBytes, algorithm } as const
      const read = await pool.extract({ source, target: undefined, whiteouts: 'ignore' }, signal)
      if (read.diffId !== diffId) throw wrongLayer(path, diffId, read.diffId)
      this.#held.use(store.hold(read.digest))
      const committed = await ingest.commit({ verifiedDigest: read.digest })
      this.readBytes += committed.sizeBytes
      return committed
    } finally {
      await ingest.abort()
    }
  }

  async #mediaType(path: string): Promise<string> {
    for await (const piece of this.#archive.chunks(path)) {
      const compression = detectCompression(piece.subarray(0, MAGIC_BYTES))
      return compression === 'none' ? LAYER : `${LAYER}+${compression}`
    }
    return LAYER
  }

  async #record({ digest, sizeBytes, mediaType }: Descriptor): Promise<void> {
    await this.#job.append(content.fact(digest, 'content.committed', { sizeBytes, mediaType, labels: {} }))
  }
}

const pathOf = (digest: Digest): string => `blobs/${digest.replace(':', '/')}`
const bare = ({ mediaType, digest, sizeBytes }: Descriptor) => ({ mediaType, digest, sizeBytes })
const written = ({ mediaType, digest, sizeBytes }: Descriptor) => ({ mediaType, digest, size: sizeBytes })

function checkCount({ layers, config }: DockerSource, { diffIds }: ImageConfig): void {
  if (layers.length === diffIds.length && layers.length > 0) return
  const counts = `${layers.length} layers in manifest.json, ${diffIds.length} in ${config}`
  throw new PurserError('invalid_argument', `the archive contradicts itself: ${counts}`, {
    remedy: 'save the image again',
  })
}

const wrongSize = (digest: Digest, sizeBytes: number, found: number): PurserError =>
  new PurserError('data_loss', `${digest} has ${found} bytes in the archive and should have ${sizeBytes}`, {
    remedy: 'save the image again',
  })

const wrongLayer = (path: string, diffId: Digest, found: Digest): PurserError =>
  new PurserError('data_loss', `the layer ${path} of the archive is ${found}, and the configuration says ${diffId}`, {
    remedy: 'save the image again',
  })
