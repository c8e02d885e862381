import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { digestOf } from '../../src/model/digest.ts'
import { startNode, type TestNode } from '../support/daemon.ts'
import { hasDocker, startDocker } from '../support/docker.ts'
import { type PushedImage, startRegistry, type TestRegistry, tarLayer } from '../support/registry.ts'
import { skopeo } from '../support/skopeo.ts'

const run = promisify(execFile)
const TOKEN = 'canary-token-0123456789abcdef'

let registry: TestRegistry
let node: TestNode
let address = ''
let own = ''
let image: PushedImage

before(async () => {
  registry = await startRegistry()
  own = await mkdtemp(join(tmpdir(), 'serve-'))
  node = await startNode({ config: serving('') })
  address = await addressOf(node)
  const layers = await Promise.all(
    [0, 1].map((index) => tarLayer([{ name: `file${index}`, content: `serve ${index} `.repeat(20_000) }])),
  )
  image = await registry.pushImage({ repository: 'serve/image', tag: 'v1', layers })
  await ok(node, 'pull', '-q', image.reference)
})
after(async () => {
  await node[Symbol.asyncDispose]()
  await registry[Symbol.asyncDispose]()
  await rm(own, { recursive: true })
})

const serving = (more: string) => `[registry.serve]\nenabled = true\naddress = "127.0.0.1:0"\n${more}\n`

async function addressOf({ logs }: TestNode): Promise<string> {
  const line = (await logs()).split('\n').findLast((each) => each.includes('"serving images"')) ?? assert.fail()
  return JSON.parse(line).address
}

async function ok(on: TestNode, ...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await on.cli(...args)
  assert.equal(exitCode, 0, stderr)
  return stdout
}

const get = (path: string, init: RequestInit = {}) =>
  fetch(`http://${address}${path}`, { ...init, signal: AbortSignal.timeout(30_000) })

test('skopeo copies from it, by tag and by digest, and lists tags', async () => {
  await ok(node, 'tag', image.reference, image.reference.replace(/v1$/, 'v2'))
  for (const name of [':v1', ':v2', `@${image.descriptor.digest}`]) {
    const from = `docker://${address}/serve/image${name}`
    assert.equal(digestOf(await skopeo('inspect', '--raw', '--tls-verify=false', from)), image.descriptor.digest)
    await skopeo('copy', '--src-tls-verify=false', from, `dir:${own}/copied`)
  }
  const listed = await skopeo('list-tags', '--tls-verify=false', `docker://${address}/serve/image`)
  assert.deepEqual(JSON.parse(listed).Tags, ['v1', 'v2'])
  const page = await get('/v2/serve/image/tags/list?n=1')
  assert.deepEqual(((await page.json()) as { tags: string[] }).tags, ['v1'])
  assert.match(page.headers.get('link') ?? '', /n=1&last=v1/)
})

test('docker pulls from it', { skip: !hasDocker && 'there is no docker.io' }, async () => {
  await using docker = await startDocker(own)
  await docker.docker('pull', `${address}/serve/image:v1`)
  const digests = await docker.docker('inspect', '--format', '{{join .RepoDigests " "}}', `${address}/serve/image:v1`)
  assert.equal(digests, `${address}/serve/image@${image.descriptor.digest}`)
})

test('parts of a blob, its head, and what a client has already', async () => {
  const layer = image.layers[0] ?? assert.fail()
  const path = `/v2/serve/image/blobs/${layer.digest}`
  const whole = Buffer.from(await (await get(path)).arrayBuffer())
  assert.equal(digestOf(whole), layer.digest)
  const head = await get(path, { method: 'HEAD' })
  assert.deepEqual([head.status, head.headers.get('content-length')], [200, String(layer.size)])
  for (const [range, begin, end] of [
    ['bytes=10-19', 10, 20],
    [`bytes=${layer.size - 5}-`, layer.size - 5, layer.size],
    ['bytes=-7', layer.size - 7, layer.size],
  ] as const) {
    const part = await get(path, { headers: { range } })
    assert.equal(part.status, 206)
    assert.ok(Buffer.from(await part.arrayBuffer()).equals(whole.subarray(begin, end)), range)
    assert.equal(part.headers.get('content-range'), `bytes ${begin}-${end - 1}/${layer.size}`)
  }
  assert.equal((await get(path, { headers: { range: `bytes=${layer.size}-` } })).status, 416)
  assert.equal((await get(path, { headers: { 'if-none-match': `"${layer.digest}"` } })).status, 304)
})

test('what is not here, not well formed or not to be read is refused in the words of the specification', async () => {
  const unknown = `sha256:${'0'.repeat(64)}`
  for (const [path, method, status, code] of [
    ['/v2/', 'GET', 200, undefined],
    ['/v2/no/such/manifests/v1', 'GET', 404, 'MANIFEST_UNKNOWN'],
    ['/v2/serve/image/manifests/v9', 'GET', 404, 'MANIFEST_UNKNOWN'],
    [`/v2/serve/image/manifests/${unknown}`, 'GET', 404, 'MANIFEST_UNKNOWN'],
    // A blob that is no manifest is not given out as one.
    [`/v2/serve/image/manifests/${image.layers[0]?.digest}`, 'GET', 404, 'MANIFEST_UNKNOWN'],
    [`/v2/serve/image/blobs/${unknown}`, 'GET', 404, 'BLOB_UNKNOWN'],
    ['/v2/serve/image/blobs/..%2f..%2fetc', 'GET', 404, 'NAME_UNKNOWN'],
    ['/v2/serve/image/blobs/sha256:xyz', 'GET', 400, 'DIGEST_INVALID'],
    ['/v2/no/such/tags/list', 'GET', 404, 'NAME_UNKNOWN'],
    ['/', 'GET', 404, 'NAME_UNKNOWN'],
    ['/v2/%zz/manifests/v1', 'GET', 404, 'NAME_UNKNOWN'],
    ['/v2/serve/image/blobs/uploads/', 'POST', 405, 'UNSUPPORTED'],
    ['/v2/serve/image/manifests/v1', 'DELETE', 405, 'UNSUPPORTED'],
  ] as const) {
    const answer = await get(path, { method })
    assert.equal(answer.status, status, `${method} ${path}`)
    const body = (await answer.json()) as { errors?: { code: string }[] }
    assert.equal(body.errors?.[0]?.code, code)
  }
})

test('images of other namespaces are not served', async () => {
  const layers = [await tarLayer([{ name: 'secret', content: 'x' }])]
  const other = await registry.pushImage({ repository: 'serve/other', tag: 'v1', layers })
  await ok(node, '-n', 'elsewhere', 'pull', '-q', other.reference)
  assert.equal((await get('/v2/serve/other/manifests/v1')).status, 404)
  assert.equal((await get(`/v2/serve/other/blobs/${other.layers[0]?.digest}`)).status, 404)
})

test('another node pulls from it while the origin is down, and a third through the second', async () => {
  await using origin = await startRegistry()
  const layers = [await tarLayer([{ name: 'file', content: 'origin '.repeat(50_000) }])]
  const there = await origin.pushImage({ repository: 'far/away', tag: 'v1', layers })
  await ok(node, 'pull', '-q', there.reference)
  await origin[Symbol.asyncDispose]()

  const certs = async (name: string, mirror: string) => {
    const dir = join(own, name, origin.address)
    await mkdir(dir, { recursive: true })
    await writeFile(join(dir, 'hosts.toml'), `[host."http://${mirror}"]\ncapabilities = ["pull", "resolve"]\n`)
    return `[registry]\nconfigPath = ${JSON.stringify(join(own, name))}\n`
  }
  await using second = await startNode({ config: `${await certs('second', address)}${serving('upstream = true')}` })
  const secondAddress = await addressOf(second)
  await using third = await startNode({ config: await certs('third', secondAddress) })
  await ok(third, 'pull', '-q', there.reference)
  const [pulled] = JSON.parse(await ok(third, '--format', 'json', 'images'))
  assert.equal(pulled.target.digest, there.descriptor.digest)
  const [cached] = JSON.parse(await ok(second, '--format', 'json', 'images'))
  assert.equal(cached.name, there.reference)
  const audited = await ok(second, 'history', there.reference)
  assert.match(audited, /registry:127\.0\.0\.1/)
  const missing = await third.cli('pull', there.reference.replace('v1', 'v9'))
  assert.notEqual(missing.exitCode, 0)
})

test('where others reach it, it asks for a token or a certificate, or does not start', async () => {
  const key = join(own, 'key.pem')
  const cert = join(own, 'cert.pem')
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  await run('openssl', [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-days',
    '2',
    '-keyout',
    key,
    '-out',
    cert,
    ...subject,
  ])
  await writeFile(join(own, 'token'), `${TOKEN}\n`)
  const open = '[registry.serve]\nenabled = true\naddress = "0.0.0.0:0"\n'
  await assert.rejects(
    startNode({ config: open }),
    /registry\.serve\.address = \\?"0\.0\.0\.0:0\\?".*not a loopback address/,
  )
  await assert.rejects(startNode({ config: `${open}clientCa = "${cert}"` }), /over TLS only/)
  await writeFile(join(own, 'short'), 'x')
  await assert.rejects(startNode({ config: `${open}tokenFile = "${own}/short"` }), /shorter than 16 characters/)

  const tls = `tlsCert = "${cert}"\ntlsKey = "${key}"\n`
  await using closed = await startNode({ config: `${open}${tls}tokenFile = "${own}/token"` })
  await ok(closed, 'pull', '-q', image.reference)
  const port = (await addressOf(closed)).split(':').at(-1)
  const from = `docker://localhost:${port}/serve/image:v1`
  const trust = join(own, 'trust')
  await mkdir(trust)
  await writeFile(join(trust, 'ca.crt'), await readFile(cert))
  await assert.rejects(skopeo('inspect', '--raw', '--cert-dir', trust, from), /unauthorized|authentication/)
  await assert.rejects(skopeo('inspect', '--raw', '--cert-dir', trust, '--creds', 'x:wrong', from))
  const raw = await skopeo('inspect', '--raw', '--cert-dir', trust, '--creds', `anybody:${TOKEN}`, from)
  assert.equal(digestOf(raw), image.descriptor.digest)
  const bearer = [
    '--cacert',
    cert,
    '-sS',
    '-w',
    '%{http_code}',
    '-o',
    '/dev/null',
    '-H',
    `Authorization: Bearer ${TOKEN}`,
  ]
  assert.equal((await run('curl', [...bearer, `https://localhost:${port}/v2/`])).stdout, '200')
  assert.doesNotMatch(await closed.logs(), new RegExp(TOKEN))
  assert.doesNotMatch(await ok(closed, 'events', '--format', 'ndjson'), new RegExp(TOKEN))

  await using mutual = await startNode({ config: `${open}${tls}clientCa = "${cert}"` })
  await ok(mutual, 'pull', '-q', image.reference)
  const mutualPort = (await addressOf(mutual)).split(':').at(-1)
  const there = `docker://localhost:${mutualPort}/serve/image:v1`
  await assert.rejects(skopeo('inspect', '--raw', '--cert-dir', trust, there))
  await writeFile(join(trust, 'client.cert'), await readFile(cert))
  await writeFile(join(trust, 'client.key'), await readFile(key))
  assert.equal(digestOf(await skopeo('inspect', '--raw', '--cert-dir', trust, there)), image.descriptor.digest)
})
