import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import { digestOf } from '../../src/model/digest.ts'
import { startNode, type TestNode } from '../support/daemon.ts'
import { type Rule, startProxy } from '../support/proxy.ts'
import { type PushedImage, startRegistry, type TestRegistry, tarLayer } from '../support/registry.ts'

const PASSWORD = 'canary-password-5f1b'
const TOKEN = 'canary-token-77aa'
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json'

let registry: TestRegistry
let proxy: Awaited<ReturnType<typeof startProxy>>
let node: TestNode
let own = ''
let dockerConfig = ''
let pushed = 0
/** All that the command line has said. */
let said = ''

before(async () => {
  registry = await startRegistry()
  proxy = await startProxy(registry.address)
  own = await mkdtemp(join(tmpdir(), 'pull-'))
  dockerConfig = join(own, 'config.json')
  node = await startNode({ config: `[registry]\ndockerConfig = ${JSON.stringify(dockerConfig)}` })
})
after(async () => {
  await node[Symbol.asyncDispose]()
  await proxy[Symbol.asyncDispose]()
  await registry[Symbol.asyncDispose]()
  await rm(own, { recursive: true })
})
beforeEach(() => proxy.lie())

/** An image of its own for each test: nothing of it is there already. */
async function push(
  layers = 1,
  compression: 'gzip' | 'zstd' | 'none' = 'gzip',
): Promise<PushedImage & { name: string }> {
  const repository = `pull/image${++pushed}`
  const tars = await Promise.all(
    Array.from({ length: layers }, (_, index) =>
      tarLayer([{ name: `file${index}`, content: `${repository} ${index} `.repeat(20_000) }]),
    ),
  )
  const image = await registry.pushImage({ repository, tag: 'latest', layers: tars, compression })
  return { ...image, name: `${proxy.address}/${repository}:latest` }
}

async function pull(name: string, ...options: string[]) {
  const result = await node.cli('pull', '-q', ...options, name)
  said += result.stdout + result.stderr
  return result
}

/** It failed with this status and one line that says so; no image, and after a collection no byte, is left of it. */
async function fails(name: string, exitCode: number, message: RegExp): Promise<void> {
  const images = await imageNames()
  const blobs = await stored()
  const result = await pull(name)
  assert.equal(result.exitCode, exitCode, result.stderr)
  assert.match(result.stderr, message)
  assert.equal(result.stderr.trimEnd().split('\n').length, 1, result.stderr)
  assert.deepEqual(await imageNames(), images)
  assert.equal((await node.cli('gc')).exitCode, 0)
  assert.deepEqual(await stored(), blobs)
}

async function imageNames(): Promise<string[]> {
  const images: { name: string }[] = JSON.parse((await node.cli('--format', 'json', 'images')).stdout)
  return images.map(({ name }) => name)
}

async function stored(): Promise<string[]> {
  const found = await Promise.all(
    ['content/blobs/sha256', 'content/ingest', 'snapshotters/overlayfs/snapshots'].map((dir) =>
      readdir(join(node.root, dir)).catch(() => []),
    ),
  )
  return found.flat().sort()
}

const isBlob =
  ({ digest }: { digest: string }) =>
  ({ path, method }: { path: string; method: string }) =>
    method === 'GET' && path.endsWith(`/blobs/${digest}`)
const layerOf = (image: PushedImage, index = 0) => image.layers[index] ?? assert.fail()

test('a malformed reference is refused before anything is asked', async () => {
  for (const name of ['name/UPPER', 'a//b', 'name:bad tag', `x@sha256:${'0'.repeat(63)}`])
    await fails(name, 64, new RegExp(name.slice(0, 5).replaceAll(/[^a-z]/gi, '.')))
  assert.deepEqual(proxy.seen, [])
})

test('an image, a tag and a registry that are not there are named', async () => {
  await fails(`${proxy.address}/no/such:latest`, 66, /no\/such/)
  const image = await push()
  await fails(image.name.replace(':latest', ':other'), 66, /other/)
  await fails('127.0.0.1:1/some/thing:latest', 69, /127\.0\.0\.1:1 refuses connections/)
})

for (const compression of ['gzip', 'zstd', 'none'] as const) {
  test(`layers that are ${compression} are pulled; a second time nothing is transferred`, async () => {
    const image = await push(2, compression)
    assert.equal((await pull(image.name)).exitCode, 0)
    proxy.lie()
    assert.equal((await pull(image.name)).exitCode, 0)
    assert.deepEqual(
      proxy.seen.filter(({ path }) => path.includes('/blobs/')),
      [],
    )
    assert.equal((await pull(`${proxy.address}/pull/image${pushed}@${image.descriptor.digest}`)).exitCode, 0)
  })
}

test('however many ask for an image at once, each blob is transferred once', async () => {
  const image = await push(3)
  const results = await Promise.all([pull(image.name), pull(image.name), pull(image.name.replace('latest', 'latest'))])
  assert.deepEqual(
    results.map(({ exitCode }) => exitCode),
    [0, 0, 0],
  )
  for (const layer of image.layers) assert.equal(proxy.seen.filter(isBlob(layer)).length, 1)
})

test('bytes that are not what their digest says are refused', async () => {
  const image = await push()
  const wrong = isBlob(layerOf(image))
  proxy.lie(async (asked, upstream, response) => {
    if (!wrong(asked)) return false
    const { headers, body } = await upstream()
    response.writeHead(200, headers).end(Buffer.from(body).fill(0x5a, body.length - 20))
    return true
  })
  await fails(image.name, 65, new RegExp(layerOf(image).digest))
})

/** Sends the first half, then cuts the connection. */
const cutting =
  (applies: (asked: Parameters<Rule>[0]) => boolean): Rule =>
  async (asked, upstream, response) => {
    if (!applies(asked)) return false
    const { headers, body, status } = await upstream()
    response.writeHead(status, headers)
    response.write(body.subarray(0, Math.floor(body.length / 2)), () => response.destroy())
    return true
  }

test('a layer that is cut off is resumed where it ended; one that always is fails, with nothing left', async () => {
  const image = await push()
  const isLayer = isBlob(layerOf(image))
  proxy.lie(cutting((asked) => isLayer(asked) && asked.range === undefined))
  assert.equal((await pull(image.name)).exitCode, 0)
  const ranges = proxy.seen.filter(isLayer).map(({ range }) => range)
  assert.equal(ranges[0], undefined)
  assert.match(ranges.at(-1) ?? '', /^bytes=[1-9]\d*-/)

  const other = await push()
  proxy.lie((asked, _upstream, response) => {
    if (!isBlob(layerOf(other))(asked)) return false
    response.writeHead(200, { 'content-length': String(layerOf(other).size) })
    response.write('x', () => response.destroy())
    return true
  })
  await fails(other.name, 69, /cut the connection|fewer bytes|another number of bytes/)
})

test('bytes of two files under one digest are fetched once more, from the beginning', async () => {
  const image = await push()
  const isLayer = isBlob(layerOf(image))
  let asked = 0
  proxy.lie(async (request, upstream, response) => {
    if (!isLayer(request) || ++asked > 1) return false
    const { headers, body, status } = await upstream()
    const wrong = Buffer.from(body)
      .fill(0x5a, 100, 200)
      .subarray(0, Math.floor(body.length / 2))
    response.writeHead(status, headers)
    response.write(wrong, () => response.destroy())
    return true
  })
  const result = await pull(image.name)
  assert.equal(result.exitCode, 0, result.stderr)
  const ranges = proxy.seen.filter(isLayer).map(({ range }) => range)
  assert.equal(ranges.at(-1), undefined)
  assert.equal((await node.cli('rmi', image.name)).exitCode, 0)
})

test('a server that fails for a while is asked again, with the patience it asks for; one that always does is named', async () => {
  const image = await push()
  let failures = 2
  proxy.lie((asked, _upstream, response) => {
    if (failures === 0 || !asked.path.includes('/manifests/')) return false
    failures -= 1
    response.writeHead(failures === 1 ? 429 : 503, { 'retry-after': '1' }).end()
    return true
  })
  const begunAt = performance.now()
  assert.equal((await pull(image.name)).exitCode, 0)
  assert.ok(performance.now() - begunAt > 1000, 'Retry-After is kept')

  const other = await push()
  proxy.lie((asked, _upstream, response) => {
    if (!asked.path.includes('/manifests/')) return false
    response.writeHead(500).end()
    return true
  })
  await fails(other.name, 69, /status 500/)
})

test('a manifest of another type than it says, of two kinds at once, or none at all is refused', async () => {
  const image = await push()
  const document = {
    schemaVersion: 2,
    mediaType: MANIFEST,
    config: {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: image.config.digest,
      size: image.config.size,
    },
    layers: image.layers.map(({ mediaType, digest, size }) => ({ mediaType, digest, size })),
  }
  const serve = (body: object | string, contentType: string): Rule => {
    const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
    return (asked, _upstream, response) => {
      if (!asked.path.includes('/manifests/')) return false
      const headers = {
        'content-type': contentType,
        'content-length': String(bytes.length),
        'docker-content-digest': digestOf(bytes),
      }
      response.writeHead(200, headers).end(asked.method === 'HEAD' ? undefined : bytes)
      return true
    }
  }
  proxy.lie(serve(document, 'application/vnd.oci.image.index.v1+json'))
  await fails(image.name, 64, /manifest|index|mediaType|media type/)
  // CVE-2021-41190: what can be read as both.
  proxy.lie(serve({ ...document, manifests: [] }, MANIFEST))
  await fails(image.name, 64, /manifests/)
  proxy.lie(serve('<html>', 'text/html'))
  await fails(image.name, 64, /text\/html/)
  proxy.lie(serve({ ...document, layers: [{ ...document.layers[0], mediaType: 'text/plain' }] }, MANIFEST))
  await fails(image.name, 69, /text\/plain/)
})

test('an index without this platform says which there are', async () => {
  const repository = `pull/index${++pushed}`
  const layers = [await tarLayer([{ name: 'a', content: 'a' }])]
  const images = []
  for (const architecture of ['s390x', 'riscv64'])
    images.push(await registry.pushImage({ repository, layers, platform: { os: 'linux', architecture } }))
  await registry.pushIndex({ repository, tag: 'latest', images })
  await fails(`${proxy.address}/${repository}:latest`, 66, /linux\/s390x.*linux\/riscv64/)
})

test('a layer whose content is not what the configuration says is refused', async () => {
  const image = await push()
  const config = Buffer.from(
    JSON.stringify({
      os: 'linux',
      architecture: 'amd64',
      config: {},
      rootfs: { type: 'layers', diff_ids: [digestOf('something else')] },
    }),
  )
  const repository = `pull/image${pushed}`
  const digest = await registry.pushBlob(repository, config)
  const document = JSON.stringify({
    schemaVersion: 2,
    mediaType: MANIFEST,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest, size: config.length },
    layers: image.layers,
  })
  await registry.pushManifest(repository, 'lying', document, MANIFEST)
  await fails(`${proxy.address}/${repository}:lying`, 65, /diff|content|sha256/)
})

const basic = (password: string) => `Basic ${Buffer.from(`ci:${password}`).toString('base64')}`
const credentials = (password: string) =>
  writeFile(
    dockerConfig,
    JSON.stringify({ auths: { [proxy.address]: { auth: basic(password).slice('Basic '.length) } } }),
  )

test('basic authentication: without credentials, with wrong and with right ones', async () => {
  const image = await push()
  const guarded: Rule = (asked, _upstream, response) => {
    if (asked.authorization === basic(PASSWORD)) return false
    response.writeHead(401, { 'www-authenticate': 'Basic realm="test"' }).end()
    return true
  }
  proxy.lie(guarded)
  await fails(image.name, 77, /docker login/)
  await credentials('wrong')
  await fails(image.name, 77, new RegExp(proxy.address))
  await credentials(PASSWORD)
  assert.equal((await pull(image.name)).exitCode, 0)
})

test('a token is asked for with the credentials, and goes to no other host', async () => {
  const image = await push()
  await using elsewhere = await startProxy(registry.address)
  await credentials(PASSWORD)
  proxy.lie((asked, _upstream, response) => {
    if (asked.path.startsWith('/token')) {
      if (asked.authorization === basic(PASSWORD)) response.writeHead(200).end(JSON.stringify({ token: TOKEN }))
      else response.writeHead(401).end()
      return true
    }
    if (asked.authorization !== `Bearer ${TOKEN}`) {
      const challenge = `Bearer realm="http://${proxy.address}/token",service="test",scope="repository:pull:pull"`
      response.writeHead(401, { 'www-authenticate': challenge }).end()
      return true
    }
    if (!asked.path.includes('/blobs/')) return false
    response.writeHead(307, { location: `http://${elsewhere.address}${asked.path}` }).end()
    return true
  })
  const result = await pull(image.name)
  assert.equal(result.exitCode, 0, result.stderr)
  assert.ok(elsewhere.seen.length >= 2, 'configuration and layer came from there')
  assert.deepEqual(
    elsewhere.seen.filter(({ authorization }) => authorization !== undefined),
    [],
  )
})

test('no byte that the node keeps or says has a credential in it', async () => {
  const secrets = [PASSWORD, TOKEN, 'Y2k6Y2FuYXJ5', Buffer.from(`ci:${PASSWORD}`).toString('base64')]
  const answers = await Promise.all(
    ['/v1/events?since=0', '/v1/commands', '/v1/audit?limit=1000', '/metrics', '/v1/info'].map((path) =>
      node.http('GET', path),
    ),
  )
  const texts: [string, string][] = [
    ['the command line', said],
    ['the log', await node.logs()],
    ...answers.map((answer, index): [string, string] => [`answer ${index}`, answer.text]),
  ]
  assert.equal(await node.stop(), 0) // All is on the disk.
  for (const entry of await readdir(node.dir, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (entry.isFile() && path !== dockerConfig) texts.push([path, (await readFile(path)).toString('latin1')])
  }
  assert.ok(
    texts.some(([path]) => path.includes('/redis/')),
    'Redis keeps its data in there',
  )
  for (const [where, content] of texts)
    for (const secret of secrets) assert.ok(!content.includes(secret), `${secret} is in ${where}`)
})
