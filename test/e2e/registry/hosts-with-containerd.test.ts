import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { execa } from 'execa'
import { type Authority, type Certificate, startAuthority } from '../../support/certificates.ts'
import { startContainerd, type TestContainerd } from '../../support/containerd.ts'
import { startNode, type TestNode } from '../../support/daemon.ts'
import { type Rule, startProxy } from '../../support/proxy.ts'
import { startRegistry, type TestRegistry, tarLayer } from '../../support/registry.ts'

type Proxy = Awaited<ReturnType<typeof startProxy>>

let authority: Authority
let client: Certificate
let registry: TestRegistry
let containerd: TestContainerd
let node: TestNode
let upstream: Proxy
/** Over TLS; the second wants a client certificate. */
let mirror: Proxy
let strict: Proxy
let certs = ''

before(async () => {
  authority = await startAuthority()
  client = await authority.issue('client')
  const server = await authority.issue('server')
  registry = await startRegistry()
  upstream = await startProxy(registry.address)
  mirror = await startProxy(registry.address, server)
  strict = await startProxy(registry.address, { ...server, clientCa: authority.cert })
  certs = await mkdtemp(join(tmpdir(), 'certs-'))
  containerd = await startContainerd()
  node = await startNode({ config: `[registry]\nconfigPath = ${JSON.stringify(certs)}` })
})
after(async () => {
  for (const each of [node, containerd, strict, mirror, upstream, registry, authority])
    await each[Symbol.asyncDispose]()
  await rm(certs, { recursive: true })
})

const down: Rule = (_asked, _upstream, response) => {
  response.writeHead(503).end()
  return true
}
const empty: Rule = (_asked, _upstream, response) => Boolean(response.writeHead(404).end())

/** Who was asked for manifests and for blobs, and what else about that a configuration decides. */
function whatWasSeen(): string[] {
  const lines = Object.entries({ upstream, mirror, strict }).flatMap(([name, { seen }]) =>
    seen.map(({ path, headers }) => {
      const [route = '', query = ''] = path.split('?')
      const kind = /\/(manifests|blobs)\//.exec(route)?.[1] ?? route
      return [name, kind, route.startsWith('/v2/below/') ? 'below' : '', query && 'with ns', headers['x-who'] ?? '']
        .filter(Boolean)
        .join(' ')
    }),
  )
  return [...new Set(lines)].sort()
}

interface Case {
  toml: () => string
  directory?: () => string
  rule?: Rule
  expected: string[]
  /** What Purser does without, because it knows by then that it would be in vain. */
  spared?: string[]
}

const CASES: Record<string, Case> = {
  'a mirror with an authority and a header': {
    toml: () => `[host."https://${mirror.address}"]
ca = "${authority.certFile}"
[host."https://${mirror.address}".header]
x-who = "node"
`,
    expected: ['mirror blobs with ns node', 'mirror manifests with ns node'],
  },
  'one that may not resolve': {
    toml: () => `[host."https://${mirror.address}"]\ncapabilities = ["pull"]\nca = "${authority.certFile}"\n`,
    expected: ['mirror blobs with ns', 'mirror manifests with ns', 'upstream manifests'],
  },
  'one whose certificate is not looked at': {
    toml: () => `[host."https://${mirror.address}"]\nskip_verify = true\n`,
    expected: ['mirror blobs with ns', 'mirror manifests with ns'],
  },
  'one that wants a client certificate': {
    toml: () =>
      `[host."https://${strict.address}"]\nca = "${authority.certFile}"\nclient = [["${client.certFile}", "${client.keyFile}"]]\n`,
    expected: ['strict blobs with ns', 'strict manifests with ns'],
  },
  'one whose API has a path of its own': {
    toml: () =>
      `[host."https://${mirror.address}/v2/below"]\noverride_path = true\nca = "${authority.certFile}"\ncapabilities = ["pull", "resolve"]\n`,
    expected: ['mirror blobs below with ns', 'mirror manifests below with ns'],
  },
  'two, of which the first has nothing': {
    toml: () =>
      `[host."https://${mirror.address}"]\nca = "${authority.certFile}"\n[host."https://${strict.address}"]\nca = "${authority.certFile}"\nclient = [["${client.certFile}", "${client.keyFile}"]]\n`,
    rule: empty,
    expected: ['mirror blobs with ns', 'mirror manifests with ns', 'strict blobs with ns', 'strict manifests with ns'],
  },
  'one that is away': {
    toml: () => `[host."https://${mirror.address}"]\nca = "${authority.certFile}"\n`,
    rule: down,
    expected: ['mirror blobs with ns', 'mirror manifests with ns', 'upstream blobs', 'upstream manifests'],
    spared: ['mirror blobs with ns'],
  },
  'that of all registries': {
    toml: () => `[host."https://${mirror.address}"]\nca = "${authority.certFile}"\n`,
    directory: () => '_default',
    expected: ['mirror blobs with ns', 'mirror manifests with ns'],
  },
  'a directory named without a colon': {
    toml: () => `[host."https://${mirror.address}"]\nca = "${authority.certFile}"\n`,
    directory: () => `${upstream.address.replace(':', '_')}_`,
    expected: ['mirror blobs with ns', 'mirror manifests with ns'],
  },
}

for (const [what, { toml, directory, rule, expected, spared = [] }] of Object.entries(CASES)) {
  test(`ctr asks whom Purser asks, given the same directory: ${what}`, async () => {
    const repository = `same/${Object.keys(CASES).indexOf(what)}`
    const layers = [await tarLayer([{ name: 'file', content: repository.repeat(1000) }])]
    await registry.pushImage({ repository, tag: 'latest', layers })
    await registry.pushImage({ repository: `below/${repository}`, tag: 'latest', layers })
    const name = `${upstream.address}/${repository}:latest`
    const dir = join(certs, directory?.() ?? upstream.address)
    await mkdir(dir)
    // For all registries no server can be named; a registry on loopback is asked without TLS by both.
    const server = directory?.() === '_default' ? '' : `server = "http://${upstream.address}"\n`
    await writeFile(join(dir, 'hosts.toml'), `${server}${toml()}`)
    const pulls = {
      ctr: () => execa('ctr', ['-a', containerd.address, 'image', 'pull', '--hosts-dir', certs, name]),
      purser: () => node.cli('pull', '-q', name),
    }
    const seen: Record<string, string[]> = {}
    for (const [who, pull] of Object.entries(pulls)) {
      upstream.lie()
      mirror.lie(rule)
      strict.lie()
      const { exitCode, stderr } = await pull()
      assert.equal(exitCode, 0, `${who}: ${stderr}`)
      seen[who] = whatWasSeen()
    }
    await rm(dir, { recursive: true })
    assert.deepEqual(seen, { ctr: expected, purser: expected.filter((each) => !spared.includes(each)) })
  })
}
