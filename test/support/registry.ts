import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { gunzipSync, gzipSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import tar from 'tar-stream'
import { type Digest, digestOf } from '../../src/model/digest.ts'

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
const INDEX = 'application/vnd.oci.image.index.v1+json'
const CONFIG = 'application/vnd.oci.image.config.v1+json'
const LAYER = 'application/vnd.oci.image.layer.v1.tar'

export interface TestPlatform {
  os: string
  architecture: string
  variant?: string
}

export interface TestDescriptor {
  mediaType: string
  digest: Digest
  size: number
  platform?: TestPlatform
}

export interface PushImageRequest {
  repository: string
  /** Left out, the manifest can be had by its digest only. */
  tag?: string
  /** Tars, bottom layer first. Plain ones are compressed as `compression` says; gzip and zstd ones stay as they are. */
  layers: readonly Buffer[]
  /** `gzip` when left out. */
  compression?: 'gzip' | 'zstd' | 'none'
  platform?: TestPlatform
  /** The `config` object of the image configuration: Env, Cmd, User … */
  config?: Record<string, unknown>
}

export interface PushedImage {
  /** What one would type: registry, repository, and the tag, or the digest when there is none. */
  reference: string
  descriptor: TestDescriptor
  config: TestDescriptor
  layers: TestDescriptor[]
  diffIds: Digest[]
}

export interface TestRegistry extends AsyncDisposable {
  /** `host:port` */
  readonly address: string
  pushBlob(repository: string, bytes: Uint8Array): Promise<Digest>
  /** @param reference a tag or a digest */
  pushManifest(
    repository: string,
    reference: string,
    document: string | Uint8Array,
    mediaType: string,
  ): Promise<TestDescriptor>
  pushImage(request: PushImageRequest): Promise<PushedImage>
  /** An index of images that are in the repository already; their platforms come from their descriptors. */
  pushIndex(request: {
    repository: string
    tag: string
    images: readonly PushedImage[]
  }): Promise<{ reference: string; descriptor: TestDescriptor }>
}

/**
 * A registry of the test's own on a free loopback port, with its own directory; both are gone after disposal. With
 * REGISTRY in the environment (`host:port`) that one is used, and left running.
 */
export async function startRegistry(): Promise<TestRegistry> {
  const given = process.env.REGISTRY
  if (given) return { ...clientOf(given), [Symbol.asyncDispose]: async () => {} }

  const dir = await mkdtemp(join(tmpdir(), 'purser-registry-'))
  await writeFile(
    join(dir, 'config.yml'),
    `version: 0.1
log: {level: info, formatter: json, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: ${join(dir, 'data')}}, delete: {enabled: true}}
http: {addr: '127.0.0.1:0'}
`,
  )
  const child = spawn('docker-registry', ['serve', join(dir, 'config.yml')], { stdio: ['ignore', 'ignore', 'pipe'] })
  const stop = async () => {
    await end(child)
    await rm(dir, { recursive: true, force: true })
  }
  try {
    const address = await listeningAddress(child, child.stderr)
    return { ...clientOf(address), [Symbol.asyncDispose]: stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function listeningAddress(child: ChildProcess, log: Readable): Promise<string> {
  const lines: string[] = []
  const failed = once(child, 'error').then(([error]) => {
    throw error
  })
  const found = new Promise<string>((resolve, reject) => {
    const reader = createInterface({ input: log })
    reader.on('line', (line) => {
      lines.push(line)
      const port = /listening on (127\.0\.0\.1:\d+)/.exec(line)?.[1]
      if (!port) return
      resolve(port)
      reader.close()
      log.resume() // Go on reading, so that it never blocks on a full pipe.
    })
    reader.on('close', () => reject(new Error(`docker-registry did not start:\n${lines.join('\n')}`)))
  })
  return await Promise.race([found, failed])
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}

function clientOf(address: string): Omit<TestRegistry, typeof Symbol.asyncDispose> {
  const base = `http://${address}/v2`

  const pushBlob = async (repository: string, bytes: Uint8Array): Promise<Digest> => {
    const digest = digestOf(bytes)
    const begun = await send(`${base}/${repository}/blobs/uploads/`, { method: 'POST' })
    const to = new URL(begun.headers.get('location') ?? '', `${base}/`)
    to.searchParams.set('digest', digest)
    await send(to.href, {
      method: 'PUT',
      body: new Uint8Array(bytes),
      headers: { 'content-type': 'application/octet-stream' },
    })
    return digest
  }

  const pushManifest: TestRegistry['pushManifest'] = async (repository, reference, document, mediaType) => {
    const bytes = Buffer.from(document)
    await send(`${base}/${repository}/manifests/${reference}`, {
      method: 'PUT',
      body: new Uint8Array(bytes),
      headers: { 'content-type': mediaType },
    })
    return { mediaType, digest: digestOf(bytes), size: bytes.length }
  }

  const pushImage = async (request: PushImageRequest): Promise<PushedImage> => {
    const { repository, tag, platform = { os: 'linux', architecture: 'amd64' } } = request
    const layers: TestDescriptor[] = []
    const diffIds: Digest[] = []
    for (const given of request.layers) {
      const layer = asLayer(given, request.compression ?? 'gzip')
      diffIds.push(digestOf(layer.tar))
      const digest = await pushBlob(repository, layer.blob)
      layers.push({ mediaType: layer.mediaType, digest, size: layer.blob.length })
    }
    const configBytes = Buffer.from(
      JSON.stringify({
        ...platform,
        config: request.config ?? {},
        rootfs: { type: 'layers', diff_ids: diffIds },
        history: diffIds.map(() => ({ created_by: 'test' })),
      }),
    )
    const config: TestDescriptor = {
      mediaType: CONFIG,
      digest: await pushBlob(repository, configBytes),
      size: configBytes.length,
    }
    const document = JSON.stringify({ schemaVersion: 2, mediaType: MANIFEST, config, layers })
    const pushed = await pushManifest(repository, tag ?? digestOf(document), document, MANIFEST)
    const reference = `${address}/${repository}${tag === undefined ? `@${pushed.digest}` : `:${tag}`}`
    return { reference, descriptor: { ...pushed, platform }, config, layers, diffIds }
  }

  const pushIndex: TestRegistry['pushIndex'] = async ({ repository, tag, images }) => {
    const manifests = images.map((image) => image.descriptor)
    const document = JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests })
    const descriptor = await pushManifest(repository, tag, document, INDEX)
    return { reference: `${address}/${repository}:${tag}`, descriptor }
  }

  return { address, pushBlob, pushManifest, pushImage, pushIndex }
}

async function send(url: string, init: RequestInit): Promise<Response> {
  const response = await fetch(url, { ...init, signal: AbortSignal.timeout(180_000) })
  const text = await response.text()
  if (!response.ok) throw new Error(`${init.method} ${url}: ${response.status} ${text}`)
  return response
}

function asLayer(bytes: Buffer, compression: 'gzip' | 'zstd' | 'none') {
  const magic = bytes.subarray(0, 4).toString('hex')
  if (magic.startsWith('1f8b')) return { blob: bytes, tar: gunzipSync(bytes), mediaType: `${LAYER}+gzip` }
  if (magic === '28b52ffd') return { blob: bytes, tar: zstdDecompressSync(bytes), mediaType: `${LAYER}+zstd` }
  switch (compression) {
    case 'gzip':
      return { blob: gzipSync(bytes), tar: bytes, mediaType: `${LAYER}+gzip` }
    case 'zstd':
      return { blob: zstdCompressSync(bytes), tar: bytes, mediaType: `${LAYER}+zstd` }
    case 'none':
      return { blob: bytes, tar: bytes, mediaType: LAYER }
  }
}

export interface TarEntry {
  name: string
  /** `file` when left out. */
  type?: 'file' | 'directory' | 'symlink' | 'link' | 'fifo' | 'character-device' | 'block-device'
  content?: string | Buffer
  linkname?: string
  /** 0644, for a directory 0755, when left out. */
  mode?: number
  uid?: number
  gid?: number
  /** 1970 when left out, so that one input gives one digest. */
  mtime?: Date
  devmajor?: number
  devminor?: number
  /** PAX records, such as `SCHILY.xattr.user.note`. */
  pax?: Record<string, string>
}

/** An uncompressed tar of the entries, in their order; names go in as they are, hostile ones too. */
export async function tarLayer(entries: readonly TarEntry[]): Promise<Buffer> {
  const pack = tar.pack()
  for (const { content = '', mtime = new Date(0), type = 'file', ...header } of entries) {
    pack.entry({ mode: type === 'directory' ? 0o755 : 0o644, ...header, type, mtime }, content)
  }
  pack.finalize()
  return await buffer(pack)
}
