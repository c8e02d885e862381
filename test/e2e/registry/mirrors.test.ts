import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import { type Authority, startAuthority } from '../../support/certificates.ts'
import { startNode, type TestNode } from '../../support/daemon.ts'
import { events } from '../../support/faults.ts'
import { type Rule, startProxy } from '../../support/proxy.ts'
import { type PushedImage, startRegistry, type TestRegistry, tarLayer } from '../../support/registry.ts'

let authority: Authority
let registry: TestRegistry
let node: TestNode
/** The registry itself; a mirror over TLS of the test's own authority; one that wants a client certificate. */
let upstream: Awaited<ReturnType<typeof startProxy>>
let mirror: Awaited<ReturnType<typeof startProxy>>
let strict: Awaited<ReturnType<typeof startProxy>>
let certs = ''
let pushed = 0

before(async () => {
  authority = await startAuthority()
  registry = await startRegistry()
  const server = await authority.issue('server')
  upstream = await startProxy(registry.address)
  mirror = await startProxy(registry.address, server)
  strict = await startProxy(registry.address, { ...server, clientCa: authority.cert })
  certs = await mkdtemp(join(tmpdir(), 'certs-'))
  node = await startNode({ config: `[registry]\nconfigPath = ${JSON.stringify(certs)}` })
})
after(async () => {
  await node[Symbol.asyncDispose]()
  for (const each of [strict, mirror, upstream, registry, authority]) await each[Symbol.asyncDispose]()
  await rm(certs, { recursive: true })
})
beforeEach(() => {
  for (const each of [upstream, mirror, strict]) each.lie()
})

async function push(): Promise<PushedImage & { name: string }> {
  const repository = `mirrored/image${++pushed}`
  const layers = [await tarLayer([{ name: 'file', content: repository.repeat(1000) }])]
  const image = await registry.pushImage({ repository, tag: 'latest', layers })
  return { ...image, name: `${upstream.address}/${repository}:latest` }
}

async function configure(toml: string): Promise<void> {
  const dir = join(certs, upstream.address)
  await mkdir(dir, { recursive: true })
  await writeFile(join(dir, 'hosts.toml'), toml)
}

const pull = (name: string) => node.cli('pull', '-q', name)

/** Who was asked for an image, as the log has it: `host status`. */
async function attempts(name: string): Promise<string[]> {
  const [event] = (await events(node, `image/${name}`)).filter(({ type }) => type === 'image.attempted')
  const list = event?.data.attempts as { host: string; status?: number }[]
  return list.map(({ host, status }) => `${host} ${status ?? 'none'}`)
}

const down: Rule = (_asked, _upstream, response) => {
  response.writeHead(503).end()
  return true
}

test('a mirror serves what it has, is told whom it stands in for, and is seen in the history', async () => {
  const image = await push()
  await configure(
    `[host."https://${mirror.address}"]\nca = "${authority.certFile}"\n[host."https://${mirror.address}".header]\nx-who = "node"\n`,
  )
  assert.equal((await pull(image.name)).exitCode, 0)
  assert.deepEqual(upstream.seen, [])
  assert.ok(mirror.seen.length >= 3)
  for (const { path, headers } of mirror.seen) {
    assert.ok(path.endsWith(`?ns=${encodeURIComponent(upstream.address)}`), path)
    assert.equal(headers['x-who'], 'node')
  }
  assert.deepEqual(await attempts(image.name), [`${mirror.address} 200`])
  const story = await node.cli('history', image.name)
  assert.match(story.stdout, new RegExp(`image\\.attempted .*${mirror.address} 200 ×\\d`))
})

test('a mirror that may not resolve is asked for content only', async () => {
  const image = await push()
  await configure(`[host."https://${mirror.address}"]\ncapabilities = ["pull"]\nca = "${authority.certFile}"\n`)
  assert.equal((await pull(image.name)).exitCode, 0)
  assert.ok(upstream.seen.every(({ path }) => path.endsWith('/manifests/latest')))
  assert.ok(mirror.seen.every(({ path }) => path.includes('sha256:')))
  assert.ok(mirror.seen.some(({ path }) => path.includes('/blobs/')))
})

test('a mirror that is away, has nothing or lies is passed over, and the history says why', async () => {
  await configure(`[host."https://${mirror.address}"]\nca = "${authority.certFile}"\n[host."http://127.0.0.1:1"]\n`)
  const answers: readonly (readonly [Rule, string])[] = [
    [down, `${mirror.address} 503`],
    [(_asked, _upstream, response) => Boolean(response.writeHead(404).end()), `${mirror.address} 404`],
    [(_asked, _upstream, response) => Boolean(response.writeHead(401).end()), `${mirror.address} 401`],
    [
      (asked, _upstream, response) => {
        if (!asked.path.includes('/manifests/')) return false
        const headers = { 'content-type': 'text/html', 'content-length': '6' }
        response.writeHead(200, headers).end(asked.method === 'HEAD' ? undefined : '<html>')
        return true
      },
      `${mirror.address} 200`,
    ],
  ]
  for (const [rule, seen] of answers) {
    const image = await push()
    mirror.lie(rule)
    const result = await pull(image.name)
    assert.equal(result.exitCode, 0, result.stderr)
    const asked = await attempts(image.name)
    assert.equal(asked[0], seen)
    assert.ok(asked.includes('127.0.0.1:1 none'), asked.join())
    assert.ok(asked.includes(`${upstream.address} 200`), asked.join())
  }
})

test('a mirror that breaks off in the middle again and again is left for the registry', async () => {
  const image = await push()
  await configure(`[host."https://${mirror.address}"]\nca = "${authority.certFile}"\n`)
  mirror.lie(async (asked, real, response) => {
    if (!asked.path.includes('/blobs/')) return false
    const { headers, body, status } = await real()
    response.writeHead(status, headers)
    response.write(body.subarray(0, 10), () => response.destroy())
    return true
  })
  const result = await pull(image.name)
  assert.equal(result.exitCode, 0, result.stderr)
})

test('one that has no host left fails with what each of them said', async () => {
  const image = await push()
  await configure(`[host."https://${mirror.address}"]\nca = "${authority.certFile}"\n`)
  mirror.lie(down)
  upstream.lie((_asked, _upstream, response) => Boolean(response.writeHead(404).end()))
  const result = await pull(image.name)
  assert.equal(result.exitCode, 66)
  assert.match(result.stderr, new RegExp(`is not in ${upstream.address}.*before that, .*${mirror.address}.*status 503`))
})

test('a client certificate is shown to the host it is for; an authority that nobody knows is refused', async () => {
  const client = await authority.issue('client')
  const image = await push()
  const pair = JSON.stringify([[client.certFile, client.keyFile]])
  await configure(`server = "https://${strict.address}"\nca = "${authority.certFile}"\nclient = ${pair}\n`)
  const result = await pull(image.name)
  assert.equal(result.exitCode, 0, result.stderr)
  assert.deepEqual(upstream.seen, [])

  const other = await push()
  await configure(`server = "https://${strict.address}"\nca = "${authority.certFile}"\n`)
  assert.notEqual((await pull(other.name)).exitCode, 0)
  await configure(`server = "https://${mirror.address}"\n`)
  const unknown = await pull(other.name)
  assert.equal(unknown.exitCode, 65, unknown.stderr)
  assert.match(unknown.stderr, /the certificate of 127\.0\.0\.1:\d+ is not trusted/)
  await configure(`server = "https://${mirror.address}"\nskip_verify = true\n`)
  assert.equal((await pull(other.name)).exitCode, 0)
})

test('a certificate that has expired, and one of a server that is redirected to, count as much', async () => {
  await using expired = await startProxy(registry.address, await authority.issue('late', 'expired'))
  const image = await push()
  await configure(`server = "https://${expired.address}"\nca = "${authority.certFile}"\n`)
  const late = await pull(image.name)
  assert.equal(late.exitCode, 65)
  assert.match(late.stderr, /the certificate of 127\.0\.0\.1:\d+ is not trusted \(CERT_HAS_EXPIRED\)/)
  await configure(`server = "https://${mirror.address}"\nca = "${authority.certFile}"\n`)
  mirror.lie((asked, _upstream, response) => {
    if (!asked.path.includes('/blobs/')) return false
    response.writeHead(307, { location: `https://${expired.address}${asked.path}` }).end()
    return true
  })
  assert.match((await pull(image.name)).stderr, /CERT_HAS_EXPIRED/)
  assert.deepEqual(expired.seen, [])
})

test('a broken hosts.toml is named, and a repaired one counts without a restart', async () => {
  const image = await push()
  await configure('capabilities = ["pull", "fly"]')
  const result = await pull(image.name)
  assert.equal(result.exitCode, 65)
  assert.match(result.stderr, /hosts\.toml cannot be used: capabilities\.1/)
  await configure('')
  assert.equal((await pull(image.name)).exitCode, 0)
})

for (const [fallback, status, helps] of [
  ['never', 503, false],
  ['on-unavailable', 503, true],
  ['on-unavailable', 404, false],
] as const) {
  test(`with fallback = "${fallback}" a mirror's ${status} ${helps ? 'leads to the next host' : 'is the end'}`, async () => {
    const image = await push()
    await using other = await startNode({
      config: `[registry]\nconfigPath = ${JSON.stringify(certs)}\nfallback = "${fallback}"`,
    })
    await configure(`[host."https://${mirror.address}"]\nca = "${authority.certFile}"\n`)
    mirror.lie((_asked, _upstream, response) => Boolean(response.writeHead(status).end()))
    const result = await other.cli('pull', '-q', image.name)
    assert.equal(result.exitCode === 0, helps, result.stderr)
    assert.equal(upstream.seen.length > 0, helps)
  })
}
