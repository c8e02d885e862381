import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { digestOf } from '../../src/model/digest.ts'
import { startNode, type TestNode } from '../support/daemon.ts'
import { startRegistry, type TarEntry, type TestRegistry, tarLayer } from '../support/registry.ts'
import { skopeo } from '../support/skopeo.ts'

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
const LAYER = 'application/vnd.oci.image.layer.v1.tar'

let registry: TestRegistry
let node: TestNode
let own = ''
let pushed = 0

before(async () => {
  registry = await startRegistry()
  own = await mkdtemp(join(tmpdir(), 'archives-'))
  node = await startNode({ config: '[images]\narchiveBytes = 8000000' })
})
after(async () => {
  await node[Symbol.asyncDispose]()
  await registry[Symbol.asyncDispose]()
  await rm(own, { recursive: true })
})

async function pulled(...options: string[]) {
  const repository = `archives/image${++pushed}`
  const layers = await Promise.all(
    [0, 1].map((index) => tarLayer([{ name: `file${index}`, content: `${repository} ${index} `.repeat(20_000) }])),
  )
  const image = await registry.pushImage({ repository, tag: 'v1', layers })
  await ok('pull', '-q', ...options, image.reference)
  return { ...image, repository }
}

async function ok(...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await node.cli(...args)
  assert.equal(exitCode, 0, stderr)
  return stdout
}

/** Loads from standard input. */
async function load(bytes: Uint8Array, ...options: string[]) {
  const child = node.spawnCli(...options, 'load')
  child.stdin.on('error', () => {}) // It may be refused before all is read.
  child.stdin.end(bytes)
  const [out, err, code] = await Promise.all([
    child.stdout ? Array.fromAsync(child.stdout) : [],
    child.stderr ? Array.fromAsync(child.stderr) : [],
    new Promise<number>((resolve) => child.once('close', resolve)),
  ])
  return { stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString(), exitCode: code }
}

const imagesOf = async (namespace: string): Promise<{ name: string; target: { digest: string } }[]> =>
  JSON.parse(await ok('-n', namespace, '--format', 'json', 'images'))

test('what is saved, skopeo reads in both of its forms, and loading it gives the same image', async () => {
  const image = await pulled()
  const file = join(own, 'saved.tar')
  await ok('save', '-o', file, image.reference)
  const raw = await skopeo('inspect', '--raw', `oci-archive:${file}`)
  assert.equal(digestOf(raw), image.descriptor.digest)
  const config = await skopeo('inspect', '--config', '--raw', `docker-archive:${file}`)
  assert.deepEqual(JSON.parse(config).rootfs.diff_ids, image.diffIds)
  await skopeo('copy', `docker-archive:${file}`, `dir:${own}/from-docker`)
  await skopeo('copy', `oci-archive:${file}`, `dir:${own}/from-oci`)

  assert.equal(await ok('-n', 'loaded', 'load', '-i', file), `Loaded image: ${image.reference}\n`)
  const [loaded] = await imagesOf('loaded')
  assert.equal(loaded?.target.digest, image.descriptor.digest)
  const snapshots = JSON.parse(await ok('-n', 'loaded', '--format', 'json', 'snapshot', 'ls'))
  assert.equal(snapshots.length, 2)
  assert.deepEqual(await readdir(join(node.root, 'uploads')), [])
})

test('several images in one archive; the same bytes each time', async () => {
  const [one, two] = [await pulled(), await pulled()]
  await ok('tag', one.reference, 'other:9')
  const file = join(own, 'several.tar')
  await ok('save', '-o', file, one.reference, 'other:9', two.reference)
  const again = node.spawnCli('save', one.reference, 'other:9', two.reference)
  const bytes = Buffer.concat(again.stdout ? await Array.fromAsync(again.stdout) : [])
  assert.ok(bytes.equals(await readFile(file)))
  const { stdout, exitCode } = await load(bytes, '-n', 'several')
  assert.equal(exitCode, 0)
  assert.deepEqual(
    stdout.trim().split('\n').sort(),
    [one.reference, 'docker.io/library/other:9', two.reference].map((name) => `Loaded image: ${name}`).sort(),
  )
})

test('an archive of several platforms is loaded whole where that is asked for, and can be saved on', async () => {
  const repository = `archives/index${++pushed}`
  const images = []
  for (const architecture of ['amd64', 'arm64', 's390x']) {
    const layers = [await tarLayer([{ name: architecture, content: repository }])]
    images.push(await registry.pushImage({ repository, layers, platform: { os: 'linux', architecture } }))
  }
  const index = await registry.pushIndex({ repository, tag: 'all', images })
  await ok('pull', '-q', '--all-platforms', index.reference)
  const file = join(own, 'platforms.tar')
  await ok('save', '-o', file, index.reference)
  await ok('-n', 'whole', 'load', '--all-platforms', '-i', file)
  await ok('-n', 'one', 'load', '-i', file)
  // Only what the namespace has of it counts, though the bytes are on the node already.
  const again = join(own, 'platforms-again.tar')
  await ok('-n', 'whole', 'gc')
  await ok('-n', 'whole', 'save', '-o', again, index.reference)
  assert.ok((await readFile(again)).equals(await readFile(file)))
  const of = async (namespace: string) =>
    JSON.parse(await ok('-n', namespace, '--format', 'json', 'image', 'inspect', index.reference))[0]
  assert.equal((await of('whole')).also?.length, 6 + 1)
  assert.equal((await of('one')).also, undefined)
})

for (const form of ['docker-archive', 'oci-archive'] as const) {
  test(`skopeo's ${form} is loaded, compressed or not`, async () => {
    const image = await pulled()
    const file = join(own, `${form}.tar`)
    await skopeo('copy', '--src-tls-verify=false', `docker://${image.reference}`, `${form}:${file}:example.org/a/b:7`)
    for (const [index, bytes] of [await readFile(file), gzipSync(await readFile(file))].entries()) {
      const { stdout, stderr, exitCode } = await load(bytes, '-n', `${form}${index}`)
      assert.equal(exitCode, 0, stderr)
      assert.equal(stdout, 'Loaded image: example.org/a/b:7\n')
      const [loaded] = await imagesOf(`${form}${index}`)
      if (form === 'oci-archive') assert.equal(loaded?.target.digest, image.descriptor.digest)
      const inspected = JSON.parse(await ok('-n', `${form}${index}`, 'inspect', 'example.org/a/b:7'))
      assert.deepEqual(
        inspected[0].layers.map((layer: { diffId: string }) => layer.diffId),
        image.diffIds,
      )
    }
  })
}

/** An OCI layout of one image. */
async function layout(change: (files: Map<string, Buffer>) => void = () => {}, name = 'docker.io/library/bad:1') {
  const layer = await tarLayer([{ name: 'file', content: `layer ${++pushed}` }])
  const config = Buffer.from(
    JSON.stringify({
      os: 'linux',
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      rootfs: { type: 'layers', diff_ids: [digestOf(layer)] },
    }),
  )
  const described = (mediaType: string, bytes: Buffer) => ({ mediaType, digest: digestOf(bytes), size: bytes.length })
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      config: described('application/vnd.oci.image.config.v1+json', config),
      layers: [described(LAYER, layer)],
    }),
  )
  const annotations = { 'io.containerd.image.name': name }
  const index = { schemaVersion: 2, manifests: [{ ...described(MANIFEST, manifest), annotations }] }
  const path = (bytes: Buffer) => `blobs/${digestOf(bytes).replace(':', '/')}`
  const files = new Map([
    ['oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}')],
    ['index.json', Buffer.from(JSON.stringify(index))],
    [path(config), config],
    [path(manifest), manifest],
    [path(layer), layer],
  ])
  change(files)
  return [...files].map(([name, content]): TarEntry => ({ name, content }))
}

async function isRefused(bytes: Buffer, exitCode: number, message: RegExp): Promise<void> {
  const before = await stored()
  const result = await load(bytes, '-n', 'hostile')
  assert.match(result.stderr, message)
  assert.equal(result.exitCode, exitCode, result.stderr)
  assert.equal(result.stderr.trimEnd().split('\n').length, 1, result.stderr)
  assert.deepEqual(await imagesOf('hostile').catch(() => []), [])
  await ok('gc')
  assert.deepEqual(await stored(), before)
}

const stored = async (): Promise<string[]> =>
  (
    await Promise.all(['content/blobs/sha256', 'content/ingest', 'uploads'].map((dir) => readdir(join(node.root, dir))))
  ).flat()

test('a layout that is well formed is loaded, so that those below are refused for what is wrong with them', async () => {
  const { exitCode, stderr } = await load(
    await tarLayer(await layout(() => {}, 'docker.io/library/good:1')),
    '-n',
    'good',
  )
  assert.equal(exitCode, 0, stderr)
})

for (const [what, entry] of [
  ['a name that goes up', { name: '../outside', content: 'x' }],
  ['an absolute name', { name: '/etc/passwd', content: 'x' }],
  ['a symbolic link to the outside', { name: 'blobs/link', type: 'symlink', linkname: '../../etc/passwd' }],
  ['an absolute symbolic link', { name: 'blobs/link', type: 'symlink', linkname: '/etc/passwd' }],
  ['a hard link', { name: 'blobs/link', type: 'link', linkname: 'index.json' }],
  ['a device', { name: 'blobs/null', type: 'character-device', devmajor: 1, devminor: 3 }],
  ['a name that comes twice', { name: 'index.json', content: '{}' }],
  ['a name that comes twice, written otherwise', { name: './blobs/../index.json', content: '{}' }],
] as const satisfies [string, TarEntry][]) {
  test(`an archive with ${what} is refused`, async () => {
    await isRefused(await tarLayer([...(await layout()), entry]), 64, /the archive is refused for its entry/)
  })
}

test('an archive whose bytes are not those of their digest is refused', async () => {
  const swap = (pick: RegExp, change: (bytes: Buffer) => Buffer) =>
    layout((files) => {
      for (const [name, bytes] of files) if (pick.test(bytes.toString('latin1'))) files.set(name, change(bytes))
    })
  const altered = (bytes: Buffer) =>
    Buffer.from(bytes.toString('latin1').replace(/layer|linux|"layers"/, 'other'), 'latin1')
  const layers = await swap(/^file\0/, altered)
  await isRefused(await tarLayer(layers), 65, /sha256:[0-9a-f]{64}/)
  const longer = await swap(/^file\0/, (bytes) => Buffer.concat([bytes, Buffer.alloc(512)]))
  await isRefused(await tarLayer(longer), 65, /has \d+ bytes in the archive and should have \d+/)
  const config = await swap(/^\{"os"/, altered)
  await isRefused(await tarLayer(config), 65, /content sha256:/)
})

test('an archive that lacks a blob, is cut off, is no archive or is too large is refused', async () => {
  const entries = await layout()
  await isRefused(await tarLayer(entries.slice(0, -1)), 66, /the archive has no file "blobs\/sha256/)
  const whole = await tarLayer(entries)
  await isRefused(whole.subarray(0, whole.length - 2048 - 100), 65, /the archive cannot be read: it ends within/)
  await isRefused(Buffer.from('no tar at all'.repeat(100)), 65, /the archive cannot be read/)
  await isRefused(Buffer.alloc(0), 65, /the archive cannot be read/)
  await isRefused(await tarLayer([{ name: 'hello', content: 'x' }]), 64, /neither index.json nor manifest.json/)
  await isRefused(gzipSync(whole).subarray(0, 300), 65, /cannot be decompressed/)
  await isRefused(gzipSync(Buffer.alloc(9_000_000)), 73, /more than the 8000000 bytes allowed/)
  await isRefused(Buffer.alloc(9_000_000, 1), 73, /more than the 8000000 bytes allowed/)
})

test('a layer that two images of an old docker archive share as a link is found', async () => {
  const layer = await tarLayer([{ name: 'shared', content: 'x' }])
  const rootfs = { type: 'layers', diff_ids: [digestOf(layer)] }
  const config = { os: 'linux', architecture: process.arch === 'x64' ? 'amd64' : process.arch, rootfs }
  const manifest = [{ Config: 'c.json', RepoTags: ['old:1'], Layers: ['b/layer.tar'] }]
  const bytes = await tarLayer([
    { name: 'a', type: 'directory' },
    { name: 'a/layer.tar', content: layer },
    { name: 'b/layer.tar', type: 'symlink', linkname: '../a/layer.tar' },
    { name: 'c.json', content: JSON.stringify(config) },
    { name: 'manifest.json', content: JSON.stringify(manifest) },
  ])
  const { stdout, exitCode, stderr } = await load(bytes, '-n', 'old')
  assert.equal(exitCode, 0, stderr)
  assert.equal(stdout, 'Loaded image: docker.io/library/old:1\n')
})

test('an export that cannot be made names what is missing; a file is whole or not there', async () => {
  const image = await pulled()
  const absent = await node.cli('save', '-o', join(own, 'absent.tar'), image.reference, 'no/such:1')
  assert.equal(absent.exitCode, 66)
  assert.match(absent.stderr, /no\/such:1 is not in namespace default/)
  const blob = join(node.root, 'content/blobs', (image.layers[1]?.digest ?? '').replace(':', '/'))
  await rm(blob)
  await writeFile(blob, 'rotten')
  const rotten = await node.cli('save', '-o', join(own, 'rotten.tar'), image.reference)
  assert.notEqual(rotten.exitCode, 0)
  await mkdir(join(own, 'empty'), { recursive: true })
  assert.deepEqual(
    (await readdir(own)).filter((name) => /absent|rotten/.test(name)),
    [],
  )
  await ok('rmi', image.reference)
})
