/**
 * Builds a small OCI image from Debian's busybox-static and pushes it to a registry over plain HTTP.
 *
 *   tiny-image.ts [REGISTRY] [REPOSITORY:TAG]      defaults: 127.0.0.1:5055 tiny:latest
 *
 * Prints the reference. The same busybox gives the same digest each time.
 */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import tar from 'tar-stream'

const APPLETS =
  'sh true false sleep echo printf cat ls ps kill id env date mkdir rm yes head tail seq dd wc grep sha256sum nc ' +
  'hostname uname stat touch tee test sync mount ip'
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
const DIRECTORIES = ['bin', 'dev', 'etc', 'proc', 'root', 'sys', 'tmp']
const GREETING = `echo "Hello from a container: $(hostname), $(uname -sr), process $$ as $(id -un)."; ls /`

export interface TinyImage {
  /** `host:port` of a registry that speaks plain HTTP. */
  registry: string
  repository: string
  tag: string
  cmd?: readonly string[]
  /** More of what the `config` object of its configuration says. */
  config?: Record<string, unknown>
}

/** @returns the reference that one pulls: registry, repository, tag */
export async function pushTinyImage({
  registry,
  repository,
  tag,
  cmd = ['sh', '-c', GREETING],
  config: more = {},
}: TinyImage) {
  const layer = await makeLayer()
  const blob = gzipSync(layer)
  const config = Buffer.from(
    JSON.stringify({
      created: '1970-01-01T00:00:00Z',
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      config: { Env: [`PATH=${PATH}`], Cmd: cmd, WorkingDir: '/', ...more },
      rootfs: { type: 'layers', diff_ids: [digestOf(layer)] },
      history: [{ created: '1970-01-01T00:00:00Z', created_by: 'scripts/tiny-image.ts' }],
    }),
  )
  const base = `http://${registry}/v2/${repository}`
  await pushBlob(base, blob)
  await pushBlob(base, config)
  const mediaType = 'application/vnd.oci.image.manifest.v1+json'
  const manifest = {
    schemaVersion: 2,
    mediaType,
    config: descriptor('application/vnd.oci.image.config.v1+json', config),
    layers: [descriptor('application/vnd.oci.image.layer.v1.tar+gzip', blob)],
  }
  await request(`${base}/manifests/${tag}`, 'PUT', Buffer.from(JSON.stringify(manifest)), mediaType)
  return `${registry}/${repository}:${tag}`
}

async function makeLayer(): Promise<Buffer> {
  const busybox = await readFile('/bin/busybox')
  const pack = tar.pack()
  const mtime = new Date(0)
  for (const name of DIRECTORIES) {
    pack.entry({ name: `${name}/`, type: 'directory', mode: name === 'tmp' ? 0o1777 : 0o755, mtime })
  }
  pack.entry({ name: 'bin/busybox', mode: 0o755, mtime }, busybox)
  for (const applet of APPLETS.split(' ')) {
    pack.entry({ name: `bin/${applet}`, type: 'symlink', linkname: 'busybox', mtime })
  }
  pack.entry(
    { name: 'etc/passwd', mode: 0o644, mtime },
    'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n',
  )
  pack.entry({ name: 'etc/group', mode: 0o644, mtime }, 'root:x:0:\nuser:x:1000:\n')
  pack.finalize()
  return await buffer(pack)
}

const digestOf = (bytes: Buffer) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`
const descriptor = (mediaType: string, bytes: Buffer) => ({ mediaType, digest: digestOf(bytes), size: bytes.length })

async function pushBlob(base: string, bytes: Buffer): Promise<void> {
  const digest = digestOf(bytes)
  const begun = await request(`${base}/blobs/uploads/`, 'POST')
  const upload = new URL(begun.headers.get('location') ?? '', base)
  upload.searchParams.set('digest', digest)
  await request(upload.href, 'PUT', bytes, 'application/octet-stream')
}

async function request(url: string, method: string, body?: Buffer, contentType?: string): Promise<Response> {
  const response = await fetch(url, {
    method,
    signal: AbortSignal.timeout(30_000),
    ...(body ? { body: new Uint8Array(body) } : {}),
    ...(contentType ? { headers: { 'content-type': contentType } } : {}),
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`${method} ${url}: ${response.status} ${text.slice(0, 200)}`)
  return response
}

if (import.meta.main) {
  const [registry = '127.0.0.1:5055', name = 'tiny:latest'] = process.argv.slice(2)
  const at = name.lastIndexOf(':')
  const [repository, tag] = at < 0 ? [name, 'latest'] : [name.slice(0, at), name.slice(at + 1)]
  console.log(await pushTinyImage({ registry, repository, tag }))
}
