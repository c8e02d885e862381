import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { digestOf } from '../../src/model/digest.ts'
import { startNode, type TestNode } from '../support/daemon.ts'
import { type PushedImage, startRegistry, type TarEntry, type TestRegistry, tarLayer } from '../support/registry.ts'
import { skopeo } from '../support/skopeo.ts'

let registry: TestRegistry
let node: TestNode
let own = ''
let pushed = 0

before(async () => {
  registry = await startRegistry()
  own = await mkdtemp(join(tmpdir(), 'images-'))
  node = await startNode()
})
after(async () => {
  await node[Symbol.asyncDispose]()
  await registry[Symbol.asyncDispose]()
  await rm(own, { recursive: true })
})

async function ok(...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await node.cli(...args)
  assert.equal(exitCode, 0, stderr)
  return stdout
}

async function fails(exitCode: number, message: RegExp, ...args: string[]): Promise<void> {
  const result = await node.cli(...args)
  assert.equal(result.exitCode, exitCode, result.stdout + result.stderr)
  assert.match(result.stderr, message)
}

const json = async (...args: string[]) => JSON.parse(await ok('--format', 'json', ...args))

interface Named extends PushedImage {
  id: string
}

/** Pulled, with layers of these entries. */
async function pulled(layers?: TarEntry[][], config: Record<string, unknown> = {}): Promise<Named> {
  const repository = `images/image${++pushed}`
  const given =
    layers ?? [0, 1].map((index) => [{ name: `file${index}`, content: `${repository} ${index} `.repeat(20_000) }])
  const tars = await Promise.all(given.map((entries) => tarLayer(entries)))
  const image = await registry.pushImage({ repository, tag: 'v1', layers: tars, config })
  await ok('pull', '-q', image.reference)
  return { ...image, id: image.config.digest.slice(7, 19) }
}

const blobOf = (digest: string | undefined): string =>
  join(node.root, 'content/blobs', (digest ?? '').replace(':', '/'))

test('images are listed as docker lists them, filtered, and by ID', async () => {
  const one = await pulled()
  const two = await pulled()
  await ok('tag', one.id, 'alias:9')
  const table = await ok('images')
  assert.match(table, /^REPOSITORY +TAG +IMAGE ID +PLATFORM +CREATED +SIZE\n/)
  assert.match(table, new RegExp(`^alias +9 +${one.id} `, 'm'))
  assert.match(
    await ok('images', '--digests', '--no-trunc', 'alias'),
    new RegExp(`${one.descriptor.digest} +${one.config.digest}`),
  )
  assert.equal(await ok('images', '-q', 'alias'), `${one.id}\n`)
  assert.equal(
    await ok('images', '-q', '--filter', 'reference=*/images/image*:v1', '--filter', `before=${two.reference}`),
    `${one.id}\n`,
  )
  assert.equal(
    await ok('images', '-q', '--filter', `since=${one.reference}`, '--filter', 'reference=*/images/*'),
    `${two.id}\n`,
  )
  assert.equal(await ok('images', '-q', '--filter', 'dangling=true'), '')
  await fails(64, /dangling=maybe/, 'images', '--filter', 'dangling=maybe')
  await fails(64, /before=…/, 'images', '--filter', 'colour=red')

  await fails(65, /has several names/, 'rmi', one.id)
  assert.equal(await ok('rmi', 'alias:9'), 'Untagged: docker.io/library/alias:9\n')
  assert.equal(await ok('rmi', one.id), `Untagged: ${one.reference}\nDeleted: ${one.descriptor.digest}\n`)
  await ok('tag', two.reference, 'second:1')
  const forced = await ok('rmi', '-f', two.config.digest)
  assert.equal(forced.split('\n').filter((line) => line.startsWith('Untagged')).length, 2)
  await fails(66, /no\/such:1/, 'rmi', 'no/such:1')
  assert.equal((await node.cli('rmi', '-f', 'no/such:1')).exitCode, 0)
  await fails(66, /no image in namespace default has the name or ID abcdef012345/, 'rmi', 'abcdef012345')
})

test('a pinned image stays until somebody insists, whatever its name comes to stand for', async () => {
  const image = await pulled()
  await ok('image', 'pin', image.reference)
  assert.equal((await json('images', image.reference))[0].labels['io.cri-containerd.pinned'], 'pinned')
  await fails(65, /is pinned; purser image unpin/, 'rmi', image.reference)
  await ok('pull', '-q', image.reference)
  await ok('tag', image.reference, 'unpinned:1')
  await ok('rmi', 'unpinned:1')
  await fails(65, /is pinned/, 'rmi', image.id)
  await ok('image', 'unpin', image.id)
  await ok('rmi', image.reference)
  await fails(66, /is not in namespace/, 'image', 'pin', image.reference)
})

test('inspect tells the configuration, the history and what is shared with others', async () => {
  const common = [{ name: 'common', content: 'common '.repeat(30_000) }]
  const one = await pulled([common, [{ name: 'one', content: '1' }]], { Env: ['A=1'], Cmd: ['one'] })
  const two = await pulled([common, [{ name: 'two', content: '2' }]], { Env: ['A=2'], Cmd: ['one'] })
  await ok('tag', one.reference, 'also:1')
  const [found] = await json('image', 'inspect', one.id)
  assert.deepEqual(found.configuration.config, { Env: ['A=1'], Cmd: ['one'] })
  assert.deepEqual(found.names.sort(), ['docker.io/library/also:1', one.reference].sort())
  assert.deepEqual(
    found.layers.map(({ sharedWith }: { sharedWith: string[] }) => sharedWith),
    [[two.reference], []],
  )
  assert.deepEqual(found.history, [
    { createdBy: 'test', emptyLayer: false },
    { createdBy: 'test', emptyLayer: false },
  ])
  assert.equal(found.sharedBytes, one.layers[0]?.size)
  assert.equal(found.sharedBytes + found.uniqueBytes, found.sizeBytes)
})

test('diff tells what differs in the configuration, the layers and the files', async () => {
  const base = [
    { name: 'dir', type: 'directory' },
    { name: 'dir/same', content: 'same' },
    { name: 'dir/changed', content: 'before' },
    { name: 'dir/removed', content: 'x' },
    { name: 'gone', type: 'directory' },
    { name: 'gone/inside', content: 'x' },
    { name: 'mode', content: 'x' },
  ] as const satisfies TarEntry[]
  const one = await pulled([[...base]], { Env: ['A=1'] })
  const two = await pulled(
    [
      [...base],
      [
        { name: 'dir/changed', content: 'after' },
        { name: 'dir/.wh.removed', content: '' },
        { name: 'dir/same', content: 'same', mtime: new Date(1e12) },
        { name: '.wh.gone', content: '' },
        { name: 'added', content: 'new' },
        { name: 'mode', content: 'x', mode: 0o755 },
        { name: 'link', type: 'link', linkname: 'added' },
      ],
    ],
    { Env: ['A=2'] },
  )
  const found = await json('image', 'diff', one.reference, two.reference)
  assert.deepEqual(found.configuration, [{ path: 'config.Env', one: ['A=1'], other: ['A=2'] }])
  assert.equal(found.layers.common.length, 1)
  assert.deepEqual(found.files, [
    { path: '/added', change: 'added' },
    { path: '/dir/changed', change: 'changed', what: ['content'] },
    { path: '/dir/removed', change: 'removed' },
    { path: '/gone', change: 'removed' },
    { path: '/gone/inside', change: 'removed' },
    { path: '/link', change: 'added' },
    { path: '/mode', change: 'changed', what: ['mode'] },
  ])
  assert.match(await ok('image', 'diff', one.id, two.id), /^D \/gone\/inside$/m)
  assert.equal(await ok('image', 'diff', one.id, one.id), '')
})

test('an image is converted to zstd: another manifest, the same content', async () => {
  const image = await pulled()
  await ok('image', 'convert', '--zstd', image.reference, 'converted:zstd')
  const [found] = await json('images', 'converted')
  assert.deepEqual(
    found.layers.map(({ diffId }: { diffId: string }) => diffId),
    image.diffIds,
  )
  for (const { mediaType, digest } of found.layers) {
    assert.equal(mediaType, 'application/vnd.oci.image.layer.v1.tar+zstd')
    const bytes = await readFile(blobOf(digest))
    assert.equal(digestOf(bytes), digest)
    assert.equal(bytes.subarray(0, 4).toString('hex'), '28b52ffd')
  }
  await ok('gc')
  await ok('image', 'check', 'converted:zstd')
  await ok('save', '-o', join(own, 'converted.tar'), 'converted:zstd')
  await skopeo('copy', `oci-archive:${own}/converted.tar`, `dir:${own}/converted`)
  assert.equal(await ok('image', 'diff', image.reference, 'converted:zstd'), '')
  await fails(66, /is not in namespace/, 'image', 'convert', '--zstd', 'no/such:1', 'x:1')
  await fails(64, /write --zstd/, 'image', 'convert', image.reference, 'x:1')
})

test('check finds what has rotted or is gone, and with --heal it is brought again', async () => {
  const image = await pulled()
  assert.doesNotMatch(await ok('image', 'check', image.reference), /corrupted|missing/)
  const [first, second] = image.layers
  const bytes = await readFile(blobOf(first?.digest))
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1
  await rm(blobOf(first?.digest))
  await writeFile(blobOf(first?.digest), bytes)
  await rm(blobOf(second?.digest))
  await rm(blobOf(image.config.digest))
  const checked = await node.cli('image', 'check', '-q', image.reference)
  assert.equal(checked.exitCode, 65)
  assert.match(checked.stdout, new RegExp(`${first?.digest.slice(7, 19)} .*corrupted`))
  assert.match(checked.stdout, new RegExp(`${second?.digest.slice(7, 19)} .*missing`))

  assert.match(await ok('image', 'check', '--heal', image.reference), /corrupted, healed/)
  assert.doesNotMatch(await ok('image', 'check'), /corrupted|missing/)
  assert.equal(digestOf(await readFile(blobOf(first?.digest))), first?.digest)
  const kept = await readdir(join(node.root, 'quarantine'))
  assert.equal(kept.length, 1)
  assert.ok((await readFile(join(node.root, 'quarantine', kept[0] ?? ''))).equals(bytes))
  const events = await ok('events', '--format', 'ndjson', '--filter', 'type=content.*')
  const types = events
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).type)
  for (const type of ['content.corrupted', 'content.quarantined', 'content.healed'])
    assert.ok(types.includes(type), type)
})

test('what rots is found in the background, slowly, and healed from where it came from', async () => {
  await using scrubbed = await startNode({ config: '[scrub]\nevery = "300ms"\nbytesPerSecond = 2000000' })
  const layers = [await tarLayer([{ name: 'file', content: 'scrub '.repeat(50_000) }])]
  const image = await registry.pushImage({ repository: 'images/scrub', tag: 'v1', layers, compression: 'none' })
  assert.equal((await scrubbed.cli('pull', '-q', image.reference)).exitCode, 0)
  const digest = image.layers[0]?.digest ?? assert.fail()
  const blob = join(scrubbed.root, 'content/blobs', digest.replace(':', '/'))
  const follower = scrubbed.spawnCli(
    'events',
    '--follow',
    '--since',
    '0',
    '--filter',
    'type=content.healed',
    '--format',
    'ndjson',
  )
  await rm(blob)
  await writeFile(blob, 'rotten')
  const [line] = (await follower.stdout?.take(1).toArray()) ?? []
  follower.kill()
  const event = JSON.parse(String(line).split('\n')[0] ?? '')
  assert.equal(event.subject, `content/${digest}`)
  assert.equal(event.actor, 'purser:scrub')
  assert.equal(event.data.source, `${registry.address}/images/scrub`)
  assert.equal(digestOf(await readFile(blob)), digest)
})

test('a list is prefetched, with digests unless tags are allowed', async () => {
  const names = []
  for (const name of ['one', 'two']) {
    const layers = [await tarLayer([{ name, content: `prefetch ${name}` }])]
    const image = await registry.pushImage({ repository: `images/prefetch-${name}`, tag: 'v1', layers })
    names.push(`${registry.address}/images/prefetch-${name}@${image.descriptor.digest}`)
  }
  const list = join(own, 'list')
  await writeFile(list, `# warm up\n${names[0]}   # the first\n\n${names[1]}\n`)
  const said = await ok('prefetch', '-f', list, '-j', '1')
  assert.deepEqual(
    said
      .trim()
      .split('\n')
      .map((line) => line.replace(/: .*? fetched$/, '')),
    names,
  )
  const commands = await json('command', 'ls', '--type', 'image.pull')
  assert.equal(commands[0].priority, 1000)
  await writeFile(list, `${registry.address}/images/prefetch-one:v1\n`)
  await fails(64, /has no digest/, 'prefetch', '-f', list)
  await ok('prefetch', '--tags', '-f', list)
  await fails(66, /cannot be read/, 'prefetch', '-f', join(own, 'absent'))
  const partly = await node.cli('prefetch', '--tags', `${registry.address}/images/absent:v1`, names[0] ?? '')
  assert.equal(partly.exitCode, 66)
  assert.match(partly.stdout, /prefetch-one.*already here/)
})
