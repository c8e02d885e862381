import { content } from '../../commands/content.ts'
import { type ImageTarget, image } from '../../commands/image.ts'
import { snapshotId } from '../../commands/snapshot.ts'
import { detectCompression, MAGIC_BYTES } from '../../layers/compression.ts'
import { archivedImages, type DockerSource, type LayoutSource } from '../../layout/archived-images.ts'
import { TarFile } from '../../layout/tar-file.ts'

import { mapLimited } from '../../model/concurrency.ts'
import { type Digest, digestOf, splitDigest } from '../../model/digest.ts'

import { PurserError } from '../../model/errors.ts'
import { chainIdOf } from '../../oci/chain-id.ts'
import { type ImageConfig, parseImageConfig } from '../../oci/image-config.ts'
import { type Descriptor, parseManifestDocument } from '../../oci/manifest.ts'
import { MEDIA_TYPES } from '../../oci/media-types.ts'
import { formatPlatform, hostPlatform, type Platform, parsePlatform, selectManifest } from '../../oci/platform.ts'
import type { Job } from '../../queue/handler.ts'
import { DOCUMENT_BYTES_MAX } from '../../registry/client.ts'
import { definePullHandler, type PullEffects } from './effects.ts'
import { checkLayers, parseConfig } from './resolve.ts'

const LAYER = 'application/vnd.oci.image.layer.v1.tar'
const INDEX_DEPTH_MAX = 4
const LAYERS_AT_ONCE = 3

/** Every layer is hashed on both sides of its compression before it becomes a blob: an archive is believed in nothing. */
export const importImage = definePullHandler(image, 'image.import', async (job) => {
  const begunAt = performance.now()
  const { effects, payload, signal, view, namespace, id } = job
  const platform = payload.platform === undefined ? hostPlatform() : parsePlatform(payload.platform)
  using upload = await effects.uploads.use(payload.ingest, signal)
  await using archive = await TarFile.open(upload.path, signal)
  const found = (await archivedImages(archive))[payload.entry]
  if (!found) {
    throw new PurserError('not_found', `the archive ${payload.ingest} has no image ${payload.entry}`, {
      field: 'payload.entry',
      remedy: `GET /v1/ingests/${payload.ingest}/images lists them`,
    })
  }
  await job.append(...job.decide())
  using held = new DisposableStack()
  const reader = new Reader(job, archive, held)
  const taken =
    found.source.kind === 'oci' ? await reader.layout(found.source, platform) : await reader.docker(found.source)
  const isNew = view.get(image, namespace, id).status === 'absent'
  const durationMs = Math.round(performance.now() - begunAt)
  const { readBytes } = reader
  await job.append(image.fact(id, 'image.imported', { image: taken, labels: payload.labels, readBytes, durationMs }))
  if (payload.snapshotter !== undefined) {
    const top = snapshotId(payload.snapshotter, chainIdOf(taken.layers.map((layer) => layer.diffId)))
    try {
      await job.step('unpack', { type: 'snapshot.unpack', subject: top, payload: { image: id } })
    } catch (error) {
      if (isNew && !signal.aborted) await job.append(image.fact(id, 'image.deleted', {}))
      throw error
    }
  }
  return { facts: [], result: { name: id, digest: taken.target.digest, platform: taken.platform, readBytes } }
})

/** Brings what an image needs from the archive into the content store. */
class Reader {
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
      const layers = await mapLimited(document.layers, LAYERS_AT_ONCE, signal, async (layer, within, index) => {
        const { digest, sizeBytes } = layer
        const diffId = config.diffIds[index] ?? digest
        await this.#layer(pathOf(digest), { expected: digest, sizeBytes, diffId, index }, within)
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
    const layers = await mapLimited(config.diffIds, LAYERS_AT_ONCE, signal, async (diffId, within, index) => {
      const path = source.layers[index] ?? ''
      const { digest, sizeBytes } = await this.#layer(path, { diffId, index }, within)
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
    wanted: { expected?: Digest; sizeBytes?: number; diffId: Digest; index: number },
    signal: AbortSignal,
  ): Promise<{ digest: Digest; sizeBytes: number }> {
    const { expected, sizeBytes, diffId, index } = wanted
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
