import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, before, beforeEach, test } from 'node:test'
import { digestOf } from '../../../src/model/digest.ts'
import { type Pulls, startPulls } from '../../support/pulls.ts'
import { type PushedImage, type TestDescriptor, tarLayer } from '../../support/registry.ts'

const INDEX = 'application/vnd.oci.image.index.v1+json'
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
const SCHEMA1 = 'application/vnd.docker.distribution.manifest.v1+prettyjws'

let pulls: Pulls
let count = 0
before(async () => {
  pulls = await startPulls()
})
after(() => pulls[Symbol.asyncDispose]())
beforeEach(() => pulls.proxy.lie())

const index = (repository: string, tag: string, manifests: readonly object[]) =>
  pulls.registry.pushManifest(repository, tag, JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests }), INDEX)

/** Images for these platforms in one repository, without tags. */
async function images(...platforms: string[]): Promise<{ repository: string; of: Map<string, PushedImage> }> {
  const repository = `resolve/image${++count}`
  const of = new Map<string, PushedImage>()
  for (const platform of platforms) {
    const [os = '', architecture = '', variant] = platform.split('/')
    const layers = [await tarLayer([{ name: 'platform', content: `${repository} ${platform}` }])]
    const named = { os, architecture, ...(variant === undefined ? {} : { variant }) }
    of.set(platform, await pulls.registry.pushImage({ repository, layers, platform: named }))
  }
  return { repository, of }
}

const bare = ({ mediaType, digest, size }: TestDescriptor) => ({ mediaType, digest, size })
const nameOf = (repository: string, tag = 'latest') => `${pulls.proxy.address}/${repository}:${tag}`

async function pulled(name: string, ...options: string[]): Promise<{ platform: string; manifest: { digest: string } }> {
  const result = await pulls.node.cli('pull', '-q', ...options, name)
  assert.equal(result.exitCode, 0, result.stderr)
  const [found] = JSON.parse((await pulls.node.cli('inspect', '--type', 'image', name)).stdout)
  return found
}

test('an index in an index in an index, with and without platforms, leads to the image', async () => {
  const { repository, of } = await images('linux/arm64', 'linux/amd64')
  const [arm, amd] = [of.get('linux/arm64') ?? assert.fail(), of.get('linux/amd64') ?? assert.fail()]
  const inner = await index(repository, 'inner', [arm.descriptor, amd.descriptor])
  const middle = await index(repository, 'middle', [bare(inner)])
  // What names no platform is looked into, in order; what has none that fits is passed over.
  const onlyArm = await index(repository, 'arm', [arm.descriptor])
  await index(repository, 'latest', [bare(arm.descriptor), bare(onlyArm), bare(middle), bare(middle)])
  const { platform, manifest } = await pulled(nameOf(repository))
  assert.deepEqual([platform, manifest.digest], ['linux/amd64', amd.descriptor.digest])
  const other = await pulled(nameOf(repository), '--platform', 'linux/arm64')
  assert.equal(other.manifest.digest, arm.descriptor.digest)
  await index(repository, 'none', [bare(onlyArm)])
  await pulls.fails(nameOf(repository, 'none'), 66, /no manifest for linux\/amd64/)
})

test("a platform falls back in containerd's order", async () => {
  const { repository, of } = await images('linux/386', 'linux/arm/v6', 'linux/arm/v5')
  await index(
    repository,
    'latest',
    [...of.values()].map(({ descriptor }) => descriptor),
  )
  assert.equal((await pulled(nameOf(repository))).platform, 'linux/386')
  assert.equal((await pulled(nameOf(repository), '--platform', 'linux/arm/v7')).platform, 'linux/arm/v6')
  assert.equal((await pulled(nameOf(repository), '--platform', 'linux/arm64')).platform, 'linux/arm/v6')
})

test('--all-platforms stores all of it, keeps it from collection, and has it to push on', async () => {
  const { repository, of } = await images('linux/arm64', 'linux/amd64', 's390x'.replace(/^/, 'linux/'))
  const attestation = await pulls.registry.pushBlob(repository, Buffer.from('{"predicate":1}'))
  const empty = await pulls.registry.pushBlob(repository, Buffer.from('{}'))
  const document = JSON.stringify({
    schemaVersion: 2,
    mediaType: MANIFEST,
    config: { mediaType: 'application/vnd.oci.empty.v1+json', digest: empty, size: 2 },
    layers: [{ mediaType: 'application/vnd.in-toto+json', digest: attestation, size: 15 }],
  })
  const beside = await pulls.registry.pushManifest(repository, digestOf(document), document, MANIFEST)
  const descriptors = [...of.values()].map(({ descriptor }) => descriptor)
  const unknown = { ...beside, platform: { os: 'unknown', architecture: 'unknown' } }
  const top = await index(repository, 'latest', [...descriptors, unknown])
  const name = nameOf(repository)
  await pulled(name, '--all-platforms')
  assert.equal((await pulls.node.cli('gc')).exitCode, 0)
  const all = [...of.values()].flatMap(({ descriptor, config, layers }) =>
    [descriptor, config, ...layers].map(({ digest }) => digest),
  )
  const stored = await pulls.node.cli('--format', 'json', 'content', 'ls')
  for (const digest of [...all, attestation, empty, beside.digest, top.digest])
    assert.ok(stored.stdout.includes(digest), digest)
  // What was asked for once stays with the same image.
  await pulled(name)
  assert.equal((await pulls.node.cli('gc')).exitCode, 0)
  const kept = await pulls.node.cli('--format', 'json', 'content', 'ls')
  for (const digest of all) assert.ok(kept.stdout.includes(digest), digest)
  const copy = `${pulls.registry.address}/${repository}-copy:latest`
  assert.equal((await pulls.node.cli('tag', name, copy)).exitCode, 0)
  const push = await pulls.node.cli('push', '-q', copy)
  assert.equal(push.exitCode, 0, push.stderr)
  const there = await pulls.proxy.ask(`/v2/${repository}-copy/manifests/latest`, INDEX)
  assert.equal(digestOf(there), top.digest, 'whole, and the same')
})

test('schema 1 and artifacts are refused for what they are', async () => {
  const image = await pulls.push()
  for (const type of [SCHEMA1, 'application/json']) {
    const document = JSON.stringify({ schemaVersion: 1, name: 'x', tag: 'latest', fsLayers: [], history: [] })
    pulls.proxy.lie((asked, _upstream, response) => {
      if (!asked.path.includes('/manifests/')) return false
      response.writeHead(200, { 'content-type': type, 'content-length': String(document.length) })
      response.end(asked.method === 'HEAD' ? undefined : document)
      return true
    })
    await pulls.fails(image.name, 69, /schema 1, which is obsolete and not supported; pull it with an old docker/)
  }
  pulls.proxy.lie()
  const repository = 'resolve/artifact'
  const digest = await pulls.registry.pushBlob(repository, Buffer.from('{}'))
  const config = { mediaType: 'application/vnd.cncf.helm.config.v1+json', digest, size: 2 }
  const document = JSON.stringify({ schemaVersion: 2, mediaType: MANIFEST, config, layers: [] })
  await pulls.registry.pushManifest(repository, 'latest', document, MANIFEST)
  await pulls.fails(nameOf(repository), 64, /helm.* is the configuration of an artifact, not of an image/)
})

test('digests of sha384 and sha512 pin and are checked as those of sha256 are', async () => {
  const image = await pulls.push()
  const path = image.name.split('/').slice(1).join('/').replace(':latest', '')
  const document = await pulls.proxy.ask(`/v2/${path}/manifests/latest`, MANIFEST)
  const layer = await pulls.proxy.ask(`/v2/${path}/blobs/${image.layers[0]?.digest}`)
  for (const algorithm of ['sha384', 'sha512']) {
    const of = (bytes: Uint8Array) => `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`
    const manifest = JSON.parse(String(document))
    manifest.layers[0].digest = of(layer)
    const changed = Buffer.from(JSON.stringify(manifest))
    let spoilt = false
    pulls.proxy.lie((asked, _upstream, response) => {
      const found = [changed, layer].find((bytes) => asked.path.endsWith(of(bytes)))
      if (!found) return false
      const sent = spoilt ? Buffer.from(found).fill(0, 0, 1) : found
      response.writeHead(200, { 'content-type': MANIFEST, 'content-length': String(sent.length) })
      response.end(asked.method === 'HEAD' ? undefined : sent)
      return true
    })
    const name = `${pulls.proxy.address}/${path}@${of(changed)}`
    spoilt = true
    await pulls.fails(name, 65, new RegExp(`${algorithm}:`))
    spoilt = false
    await pulls.succeeds(name)
  }
})

test('what refers to an image is listed by the API, page by page, or else by its tag', async () => {
  const image = await pulls.push()
  const { digest } = image.descriptor
  const path = image.name.split('/').slice(1).join('/').replace(':latest', '')
  const referrer = (artifactType: string) => ({
    mediaType: MANIFEST,
    digest: digestOf(artifactType),
    size: 7,
    artifactType,
    annotations: { made: 'by a test' },
  })
  const page = (...manifests: object[]) => JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests })
  const list = async (...options: string[]) => {
    const result = await pulls.node.cli('--format', 'json', 'image', 'referrers', ...options, image.name)
    assert.equal(result.exitCode, 0, result.stderr)
    return (JSON.parse(result.stdout) as { artifactType: string }[]).map(({ artifactType }) => artifactType)
  }
  assert.deepEqual(await list(), [], 'there are none')

  pulls.proxy.lie((asked, _upstream, response) => {
    if (!asked.path.endsWith(`/manifests/${digest.replace(':', '-')}`)) return false
    response.writeHead(200, { 'content-type': INDEX }).end(page(referrer('a/sbom')))
    return true
  })
  assert.deepEqual(await list(), ['a/sbom'], 'by the tag')

  pulls.proxy.lie((asked, _upstream, response) => {
    const url = new URL(asked.path, 'http://x')
    if (url.pathname !== `/v2/${path}/referrers/${digest}`) return false
    const isSecond = url.searchParams.get('page') === '2'
    const link = { link: `<${url.pathname}?page=2>; rel="next"` }
    response.writeHead(200, { 'content-type': INDEX, ...(isSecond ? {} : link) })
    response.end(isSecond ? page(referrer('a/sbom')) : page(referrer('a/signature')))
    return true
  })
  assert.deepEqual(await list(), ['a/signature', 'a/sbom'])
  assert.deepEqual(await list('--artifact-type', 'a/sbom'), ['a/sbom'])
  const table = await pulls.node.cli('image', 'referrers', image.name)
  assert.match(table.stdout, /^DIGEST +ARTIFACT TYPE +SIZE\n/)
  const answer = await pulls.node.http('GET', `/v1/referrers?image=${encodeURIComponent(image.name)}`)
  assert.equal((answer.json as { subject: string }).subject, digest)

  pulls.proxy.lie((asked, _upstream, response) => {
    if (!asked.path.includes('/referrers/')) return false
    const url = new URL(asked.path, 'http://x')
    response.writeHead(200, { 'content-type': INDEX, link: `<${url.pathname}?page=x>; rel="next"` })
    response.end(page(referrer('for/ever')))
    return true
  })
  assert.equal((await list()).length, 20, 'pages without end are cut off')
  const missing = await pulls.node.cli('image', 'referrers', `${pulls.proxy.address}/no/such`)
  assert.equal(missing.exitCode, 66)
})
