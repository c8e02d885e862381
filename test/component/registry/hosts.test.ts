import assert from 'node:assert/strict'
import { mkdir, mkdtempDisposable, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { hostsOf, type RegistryHost } from '../../../src/registry/hosts.ts'

const PEM = '-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n'

/** What is read for a registry when these files are there. */
async function read(
  registry: string,
  files: Readonly<Record<string, string>>,
  plainHttp = false,
): Promise<RegistryHost[]> {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'purser-hosts-'))
  for (const [name, text] of Object.entries(files)) {
    const path = join(dir.path, name)
    await mkdir(join(path, '..'), { recursive: true })
    await writeFile(path, text)
  }
  const roots = [join(dir.path, 'first'), join(dir.path, 'second')]
  return await hostsOf(registry, { roots, plainHttp: () => plainHttp })
}

const urls = (hosts: RegistryHost[]) => hosts.map(({ scheme, name, path }) => `${scheme}://${name}${path}`)
const words = (hosts: RegistryHost[]) => hosts.map(({ capabilities }) => [...capabilities].join(' '))
const headersOf = (host: RegistryHost | undefined) =>
  Object.fromEntries(Object.entries(host?.headers ?? {}).map(([name, value]) => [name, value.reveal()]))

test('without a directory a registry is itself', async () => {
  assert.deepEqual(urls(await read('docker.io', {})), ['https://registry-1.docker.io/v2'])
  assert.deepEqual(urls(await read('ghcr.io', {})), ['https://ghcr.io/v2'])
  assert.deepEqual(urls(await read('reg.lan:5000', {}, true)), ['http://reg.lan:5000/v2'])
  assert.deepEqual(words(await read('ghcr.io', {})), ['pull resolve push'])
})

test('on loopback TLS is tried first where the port leaves it open, and its certificate is not checked', async () => {
  const [open] = await read('localhost:5000', {})
  assert.deepEqual([open?.scheme, open?.connection.verify], ['https-or-http', false])
  assert.equal((await read('127.0.0.1:80', {}))[0]?.scheme, 'http')
  assert.equal((await read('localhost', {}))[0]?.scheme, 'https')
  assert.equal((await read('localhost:443', {}))[0]?.scheme, 'https')
})

test('hosts come in the order of the file, and the registry itself last', async () => {
  const hosts = await read('docker.io', {
    'first/docker.io/hosts.toml': `
server = "https://registry-1.docker.io"
[host."https://public.example"]
  capabilities = ["pull"]
[host."https://private.example:8443/mirror"]
  capabilities = ["pull", "Resolve"]
  dial_timeout = "1m2s"
  [host."https://private.example:8443/mirror".header]
    x-one = "1"
    x-two = ["2", "3"]
[host."http://plain.example"]
[host."https://odd.example/v2/hub"]
  override_path = true
[host."bare.example/v2/"]
`,
  })
  assert.deepEqual(urls(hosts), [
    'https://public.example/v2',
    'https://private.example:8443/mirror/v2',
    'http://plain.example/v2',
    'https://odd.example/v2/hub',
    'https://bare.example/v2',
    'https://registry-1.docker.io/v2',
  ])
  assert.deepEqual(words(hosts), ['pull', 'pull resolve', ...Array.from({ length: 4 }, () => 'pull resolve push')])
  assert.deepEqual(headersOf(hosts[1]), { 'x-one': '1', 'x-two': '2, 3' })
  assert.equal(hosts[1]?.connection.dialTimeoutMs, 62_000)
  assert.deepEqual(
    hosts.map(({ namespace }) => namespace),
    [...Array.from({ length: 5 }, () => 'docker.io'), undefined],
  )
})

test('without a server the registry is last; what the root of the file says of TLS is for it', async () => {
  const files = {
    'first/reg.lan:5000/hosts.toml': 'ca = "own.pem"\nskip_verify = false\n[host."https://mirror.lan"]\n',
    'first/reg.lan:5000/own.pem': PEM,
  }
  const [mirror, own] = await read('reg.lan:5000', files)
  assert.deepEqual(urls([mirror, own].flatMap((host) => host ?? [])), [
    'https://mirror.lan/v2',
    'https://reg.lan:5000/v2',
  ])
  assert.deepEqual(own?.connection, { ca: [PEM], clients: [], verify: true })
  assert.deepEqual(mirror?.connection, { ca: [], clients: [], verify: true })
})

test('an http host with something said of TLS is asked over TLS first, as containerd does', async () => {
  const scheme = async (lines: string) => {
    const hosts = await read('a.b', { 'first/a.b/hosts.toml': `[host."${lines.replace('|', '"]\n')}\n` })
    return hosts[0]?.scheme
  }
  assert.equal(await scheme('http://m.lan:5000|skip_verify = true'), 'https-or-http')
  assert.equal(await scheme('http://m.lan:5000|'), 'http')
  assert.equal(await scheme('http://m.lan:80|skip_verify = true'), 'http')
})

test('client certificates are a file, files, or pairs of files', async () => {
  const names = ['a.pem', 'b.pem', 'c.cert', 'c.key', 'd.pem']
  const pems = Object.fromEntries(names.map((name) => [`first/r.io/${name}`, `${PEM}${name}`]))
  const clients = async (value: string) => {
    const [host] = await read('r.io', { ...pems, 'first/r.io/hosts.toml': `client = ${value}\n` })
    return host?.connection.clients.map(({ cert, key }) => [cert.slice(PEM.length), key.slice(PEM.length)])
  }
  assert.deepEqual(await clients('"a.pem"'), [['a.pem', 'a.pem']])
  assert.deepEqual(await clients('["a.pem", "b.pem"]'), [
    ['a.pem', 'a.pem'],
    ['b.pem', 'b.pem'],
  ])
  assert.deepEqual(await clients('[["c.cert", "c.key"], ["d.pem", ""]]'), [
    ['c.cert', 'c.key'],
    ['d.pem', 'd.pem'],
  ])
})

test('a directory without hosts.toml may have certificates as docker lays them out', async () => {
  const [host] = await read('reg.lan:5000', {
    'second/reg.lan:5000/ca.crt': `${PEM}ca`,
    'second/reg.lan:5000/me.cert': `${PEM}cert`,
    'second/reg.lan:5000/me.key': `${PEM}key`,
    'second/reg.lan:5000/README': 'nothing',
  })
  assert.deepEqual(host?.connection.ca, [`${PEM}ca`])
  assert.deepEqual(host?.connection.clients, [{ cert: `${PEM}cert`, key: `${PEM}key` }])
  assert.deepEqual(urls(host ? [host] : []), ['https://reg.lan:5000/v2'])
})

test('the name with its port in underscores comes first, then the plain one, then _default, then the next directory', async () => {
  const toml = (name: string) => `server = "https://${name}.example"\n`
  const files: Record<string, string> = {
    'first/r.io_5000_/hosts.toml': toml('underscores'),
    'first/r.io:5000/hosts.toml': toml('colon'),
    'first/_default/hosts.toml': toml('default'),
    'second/r.io:5000/hosts.toml': toml('second'),
  }
  for (const expected of ['underscores', 'colon', 'default', 'second']) {
    assert.deepEqual(urls(await read('r.io:5000', files)), [`https://${expected}.example/v2`])
    delete files[Object.keys(files)[0] ?? '']
  }
})

test('what cannot be used is named by file and field, without its value', async () => {
  const bad: readonly (readonly [string, RegExp])[] = [
    ['server = [', /hosts\.toml cannot be used: line \d/],
    ['capabilities = ["pull", "fly"]', /capabilities\.1/],
    ['ca = 3', /: ca/],
    ['client = [["one"]]', /: client/],
    ['dial_timeout = "soon"', /dial_timeout: write a duration/],
    ['[header]\nAuthorization = "Basic c2VjcmV0\\r\\n"', /header\.Authorization: not the value of a header/],
    ['server = "https://me:secret@x.io"', /is not https:\/\/HOST/],
    ['ca = "missing.pem"', /missing\.pem cannot be used: it is not there/],
    ['proxy = "socks5://x:1"', /proxy: a proxy is/],
  ]
  for (const [toml, says] of bad) {
    await assert.rejects(read('r.io', { 'first/r.io/hosts.toml': `${toml}\n` }), (error: Error & { code: string }) => {
      assert.equal(error.code, 'failed_precondition')
      assert.match(error.message, says)
      assert.doesNotMatch(error.message, /secret|c2Vj/)
      return true
    })
  }
})
