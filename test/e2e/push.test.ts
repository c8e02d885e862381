import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { digestOf } from '../../src/model/digest.ts'
import { startNode, type TestNode } from '../support/daemon.ts'
import { startGate } from '../support/gate.ts'
import { startRegistry, type TestRegistry, tarLayer } from '../support/registry.ts'
import { skopeo } from '../support/skopeo.ts'

const PASSWORD = 'canary-password-77b1'
const MIB = 1024 * 1024

let origin: TestRegistry
let other: TestRegistry
let node: TestNode
let own = ''
let pushed = 0

before(async () => {
  origin = await startRegistry()
  other = await startRegistry()
  own = await mkdtemp(join(tmpdir(), 'push-'))
  const dockerConfig = join(own, 'config.json')
  await writeFile(dockerConfig, '{}')
  node = await startNode({ config: `[registry]\ndockerConfig = ${JSON.stringify(dockerConfig)}` })
})
after(async () => {
  await node[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
  await other[Symbol.asyncDispose]()
  await rm(own, { recursive: true })
})

async function ok(...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await node.cli(...args)
  assert.equal(exitCode, 0, stderr)
  return stdout
}

async function pulled() {
  const repository = `push/image${++pushed}`
  const layers = await Promise.all(
    [0, 1].map((index) => tarLayer([{ name: `file${index}`, content: `${repository} ${index} `.repeat(20_000) }])),
  )
  const image = await origin.pushImage({ repository, tag: 'v1', layers })
  await ok('pull', '-q', image.reference)
  return { ...image, repository }
}

interface Pushed {
  to: string
  digest: string
  platforms: string[]
  sent: number
  mounted: number
  known: number
  sentBytes: number
  isWhole: boolean
}
const push = async (...args: string[]): Promise<Pushed> => JSON.parse(await ok('--format', 'ndjson', 'push', ...args))

const raw = (reference: string): Promise<string> =>
  skopeo('inspect', '--raw', '--tls-verify=false', `docker://${reference}`)

test('an image is brought to another registry, where skopeo finds it; a second time nothing is sent', async () => {
  const image = await pulled()
  const name = `${other.address}/a/copy:v1`
  await ok('tag', image.reference, name)
  const first = await push(name)
  assert.deepEqual([first.sent, first.mounted, first.known], [3, 0, 0])
  assert.equal(
    first.sentBytes,
    [image.config, ...image.layers].reduce((sum, { size }) => sum + size, 0),
  )
  assert.equal(digestOf(await raw(name)), image.descriptor.digest)
  await skopeo('copy', '--src-tls-verify=false', `docker://${name}`, `dir:${own}/copied`)
  const second = await push(name)
  assert.deepEqual([second.sent, second.known, second.sentBytes], [0, 3, 0])
  assert.match(await ok('push', name), /already there \(.*digest: sha256:/s)
  const events = await ok(
    'events',
    '--filter',
    `subject=image/${name}`,
    '--filter',
    'type=image.push*',
    '--format',
    'ndjson',
  )
  assert.deepEqual(
    events
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).type),
    ['image.pushing', 'image.pushed', 'image.pushing', 'image.pushed', 'image.pushing', 'image.pushed'],
  )
})

test('to another repository of the registry that it came from, blobs are mounted', async () => {
  const image = await pulled()
  const to = `${origin.address}/push/mounted:v1`
  const result = await push('--to', to, image.reference)
  assert.deepEqual([result.sent, result.mounted, result.sentBytes], [0, 3, 0])
  assert.equal(digestOf(await raw(to)), image.descriptor.digest)
})

test('an index is pushed with all platforms that are here, and otherwise what there is of it', async () => {
  const repository = `push/index${++pushed}`
  const images = []
  for (const architecture of ['amd64', 'arm64', 's390x']) {
    const layers = [await tarLayer([{ name: architecture, content: repository }])]
    images.push(await origin.pushImage({ repository, layers, platform: { os: 'linux', architecture } }))
  }
  const index = await origin.pushIndex({ repository, tag: 'all', images })
  const name = index.reference
  await ok('pull', '-q', '--platform', 'linux/amd64', name)
  const one = await push('--to', `${other.address}/index/one:v1`, name)
  assert.deepEqual([one.isWhole, one.platforms, one.digest], [false, ['linux/amd64'], images[0]?.descriptor.digest])

  await ok('pull', '-q', '--platform', 'linux/arm64', name)
  const two = await push('--to', `${other.address}/index/two:v1`, name)
  assert.deepEqual([two.isWhole, two.platforms], [false, ['linux/amd64', 'linux/arm64']])
  const smaller = JSON.parse(await raw(`${other.address}/index/two:v1`))
  assert.deepEqual(
    smaller.manifests.map(({ digest }: { digest: string }) => digest),
    images.slice(0, 2).map(({ descriptor }) => descriptor.digest),
  )

  await ok('pull', '-q', '--platform', 'linux/s390x', name)
  const all = await push('--to', `${other.address}/index/all:v1`, name)
  assert.deepEqual([all.isWhole, all.digest], [true, index.descriptor.digest])
  await skopeo('copy', '--all', '--src-tls-verify=false', `docker://${all.to}`, `dir:${own}/index`)
  const single = await push('--platform', 'linux/arm64', '--to', `${other.address}/index/arm:v1`, name)
  assert.equal(single.digest, images[1]?.descriptor.digest)
})

for (const kind of ['basic', 'token', 'identity'] as const) {
  test(`a registry that asks for ${kind} authentication gets it, with the scope that each request needs`, async () => {
    await using gate = await startGate(origin.address, { auth: { kind, user: 'me', password: PASSWORD } })
    const image = await pulled()
    const to = `${gate.address}/push/${kind}:v1`
    const refused = await node.cli('push', '--to', to, image.reference)
    assert.equal(refused.exitCode, 77, refused.stderr)
    assert.match(refused.stderr, /docker login/)
    const auth = Buffer.from(`me:${PASSWORD}`).toString('base64')
    const login = kind === 'identity' ? { identitytoken: PASSWORD } : { auth }
    await writeFile(join(own, 'config.json'), JSON.stringify({ auths: { [gate.address]: login } }))
    const result = await push('--to', to, image.reference)
    assert.equal(result.sent, 3)
    assert.equal(digestOf(await raw(`${origin.address}/push/${kind}:v1`)), image.descriptor.digest)
    // Known from there now, so that it is mounted: for that both repositories have to be named.
    const mounted = await push('--to', `${gate.address}/push/${kind}-mounted:v1`, image.reference)
    assert.deepEqual([mounted.mounted, mounted.sent], [3, 0])
    if (kind !== 'basic') {
      assert.ok(gate.scopes.includes(`repository:push/${kind}:pull,push`), gate.scopes.join(' '))
      assert.ok(gate.scopes.includes(`repository:push/${kind}:pull`), gate.scopes.join(' '))
    }
    assert.doesNotMatch(await node.logs(), new RegExp(PASSWORD))
    assert.doesNotMatch(await ok('events', '--format', 'ndjson'), new RegExp(PASSWORD))
  })
}

test('an upload that breaks off goes on where the registry has it', async () => {
  const layer = await tarLayer([{ name: 'random', content: randomBytes(40 * MIB) }])
  const image = await origin.pushImage({ repository: 'push/large', tag: 'v1', layers: [layer], compression: 'none' })
  await ok('pull', '-q', image.reference)
  await using gate = await startGate(other.address)
  gate.cutNext('PATCH', 9 * MIB)
  const result = await push('--to', `${gate.address}/large:v1`, image.reference)
  assert.equal(result.sent, 2)
  assert.equal(digestOf(await raw(`${other.address}/large:v1`)), image.descriptor.digest)
  const bytes = gate.passed.reduce((sum, { bodyBytes }) => sum + bodyBytes, 0)
  assert.ok(bytes < layer.length + 17 * MIB, `${bytes} bytes were sent`)
  assert.ok(gate.passed.filter(({ method }) => method === 'PATCH').length >= 3)
  assert.ok(gate.passed.some(({ method, path }) => method === 'GET' && path.includes('/blobs/uploads/')))
})

test('a registry that has too much to do in the middle of a push is given time', async () => {
  const layer = await tarLayer([{ name: 'random', content: randomBytes(18 * MIB) }])
  const image = await origin.pushImage({ repository: 'push/busy', tag: 'v1', layers: [layer], compression: 'none' })
  await ok('pull', '-q', image.reference)
  for (const [method, statuses, headers] of [
    ['PATCH', [429], { 'retry-after': '2' }],
    ['PATCH', [500, 503, 502], {}],
    ['PUT', [429, 503], { 'retry-after': '1' }],
    ['POST', [504, 429], {}],
  ] as const) {
    await using gate = await startGate(other.address)
    gate.refuseNext(method, statuses, headers)
    const begunAt = performance.now()
    const name = `busy/${method.toLowerCase()}${statuses.join('-')}:v1`
    const result = await push('--to', `${gate.address}/${name}`, image.reference)
    if ('retry-after' in headers) {
      const waitedMs = performance.now() - begunAt
      assert.ok(waitedMs >= 1000 * Number(headers['retry-after']), `${method}: came back after ${waitedMs} ms`)
    }
    assert.equal(result.digest, image.descriptor.digest)
    assert.equal(digestOf(await raw(`${other.address}/${name}`)), image.descriptor.digest)
  }
})

test('a registry that is never well again ends a push, and is left without the name', async () => {
  const image = await pulled()
  await using gate = await startGate(other.address)
  gate.refuseNext('PUT', Array(100).fill(500))
  const { exitCode, stderr } = await node.cli('push', '--to', `${gate.address}/never:v1`, image.reference)
  assert.equal(exitCode, 69, stderr)
  assert.match(stderr, /status 500/)
  await assert.rejects(raw(`${other.address}/never:v1`))
})

test('what cannot be pushed is refused in one line: an unknown image, a registry that is away, blobs that are gone', async () => {
  const image = await pulled()
  for (const [args, exitCode, message] of [
    [['no/such:1'], 66, /no\/such:1 is not in namespace default/],
    [['--to', '127.0.0.1:1/a:b', image.reference], 69, /127\.0\.0\.1:1/],
    [['--platform', 'linux/mips64le', image.reference], 66, /linux\/mips64le is not in the content store/],
    [['--to', 'Bad Name', image.reference], 64, /to/],
  ] as const) {
    const { exitCode: status, stderr } = await node.cli('push', ...args)
    assert.equal(status, exitCode, stderr)
    assert.match(stderr, message)
    assert.equal(stderr.trimEnd().split('\n').length, 1, stderr)
  }
})
