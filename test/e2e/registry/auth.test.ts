import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import { startNode, type TestNode } from '../../support/daemon.ts'
import { ended } from '../../support/faults.ts'
import { type Rule, type Seen, startProxy } from '../../support/proxy.ts'
import { type PushedImage, startRegistry, type TestRegistry, tarLayer } from '../../support/registry.ts'

const SECRETS = {
  password: 'canary-password-8d1f',
  helper: 'canary-helper-77c0',
  identity: 'canary-identity-3b9e',
  plugin: 'canary-plugin-51aa',
  request: 'canary-request-e0c4',
  token: 'canary-token-92d7',
}

let registry: TestRegistry
let proxy: Awaited<ReturnType<typeof startProxy>>
let node: TestNode
let own = ''
let pushed = 0
let said = ''

before(async () => {
  registry = await startRegistry()
  proxy = await startProxy(registry.address)
  own = await mkdtemp(join(tmpdir(), 'auth-'))
  await mkdir(join(own, 'bin'))
  await mkdir(join(own, 'providers'))
  node = await startNode({
    config: `[registry]
dockerConfig = "${own}/config.json"
credentialProviders = { config = "${own}/providers", binDir = "${own}/bin" }
`,
    env: { PATH: `${own}/bin:${process.env.PATH}` },
  })
})
after(async () => {
  await node[Symbol.asyncDispose]()
  await proxy[Symbol.asyncDispose]()
  await registry[Symbol.asyncDispose]()
  await rm(own, { recursive: true })
})
beforeEach(async () => {
  proxy.lie()
  await writeFile(join(own, 'config.json'), '{}')
  await provider('nobody.example')
})

async function push(layers = 1): Promise<PushedImage & { name: string }> {
  const repository = `auth/image${++pushed}`
  const tars = await Promise.all(
    Array.from({ length: layers }, (_, index) =>
      tarLayer([{ name: `f${index}`, content: `${repository} `.repeat(5000) }]),
    ),
  )
  const image = await registry.pushImage({ repository, tag: 'latest', layers: tars })
  return { ...image, name: `${proxy.address}/${repository}:latest` }
}

async function pull(name: string, stdin?: string, ...options: string[]) {
  const child = node.spawnCli('pull', '-q', ...options, name)
  child.stdin.end(stdin)
  const chunks: string[] = []
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => chunks.push(String(chunk)))
  const exitCode = await new Promise<number | null>((resolve) => child.on('close', resolve))
  const text = chunks.join('')
  said += text
  return { exitCode, text }
}

async function program(name: string, script: string): Promise<void> {
  const path = join(own, 'bin', name)
  await writeFile(path, `#!/bin/sh\necho "$0" >>${own}/calls\n${script}\n`)
  await chmod(path, 0o755)
}

/** How often programs were run since the last time. */
async function calls(): Promise<number> {
  const text = await readFile(join(own, 'calls'), 'utf8').catch(() => '')
  await rm(join(own, 'calls'), { force: true })
  return text.split('\n').length - 1
}

const provider = (matchImages: string, more = '') =>
  writeFile(
    join(own, 'providers/own.yaml'),
    `apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
  - name: test-provider
    matchImages: ["${matchImages}"]
    defaultCacheDuration: 1h
    apiVersion: credentialprovider.kubelet.k8s.io/v1
    args: [--for, image]
    env: [{ name: WHO, value: ci }]
${more}`,
  )

const basic = (password: string) => `Basic ${Buffer.from(`ci:${password}`).toString('base64')}`

/** A registry that lets in those who have this password. */
const guarded =
  (authorization: () => string): Rule =>
  (asked, _upstream, response) => {
    if (asked.authorization === authorization()) return false
    response.writeHead(401, { 'www-authenticate': 'Basic realm="test"' }).end()
    return true
  }

/** A registry with a token service on the same port. */
function tokens(
  grant: (asked: Seen, body: URLSearchParams) => string | undefined,
  isGood: (token: string) => boolean,
): Rule {
  return async (asked, _upstream, response) => {
    if (asked.path.startsWith('/token')) {
      const token = grant(asked, new URLSearchParams(await proxy.bodyOf(asked)))
      if (token === undefined) response.writeHead(401).end()
      else response.writeHead(200).end(JSON.stringify({ access_token: token, expires_in: 300 }))
      return true
    }
    if (isGood(asked.authorization?.replace('Bearer ', '') ?? '')) return false
    const challenge = `Bearer realm="http://${proxy.address}/token",service="test",scope="repository:other/one:pull"`
    response.writeHead(401, { 'www-authenticate': challenge }).end()
    return true
  }
}

test('an anonymous token is asked for with the scope of the repository, and used for all of the pull', async () => {
  const image = await push(3)
  proxy.lie(
    tokens(
      () => SECRETS.token,
      (token) => token === SECRETS.token,
    ),
  )
  const result = await pull(image.name)
  assert.equal(result.exitCode, 0, result.text)
  const asked = proxy.seen.filter(({ path }) => path.startsWith('/token')).map(({ path }) => new URL(path, 'http://x'))
  assert.equal(asked.length, 1)
  assert.deepEqual(asked[0]?.searchParams.getAll('scope'), [
    `repository:auth/image${pushed}:pull`,
    'repository:other/one:pull',
  ])
  assert.equal(asked[0]?.searchParams.get('service'), 'test')
})

test('an identity token is exchanged by POST, and never sent to the registry', async () => {
  const image = await push()
  const auths = { [proxy.address]: { identitytoken: SECRETS.identity } }
  await writeFile(join(own, 'config.json'), JSON.stringify({ auths }))
  let form = new URLSearchParams()
  proxy.lie(
    tokens(
      (asked, body) => {
        form = body
        return asked.method === 'POST' && body.get('refresh_token') === SECRETS.identity ? SECRETS.token : undefined
      },
      (token) => token === SECRETS.token,
    ),
  )
  const result = await pull(image.name)
  assert.equal(result.exitCode, 0, result.text)
  assert.equal(form.get('grant_type'), 'refresh_token')
  assert.equal(form.get('scope'), `repository:auth/image${pushed} repository:other/one`.replaceAll(/(?= |$)/g, ':pull'))
  assert.ok(proxy.seen.every(({ authorization }) => !authorization?.includes(SECRETS.identity)))
})

for (const [where, config] of [
  ['credHelpers', (address: string) => ({ credHelpers: { [address]: 'test' } })],
  ['credsStore', () => ({ credsStore: 'test' })],
] as const) {
  test(`${where}: the helper is given the registry's name, and asked again when what it gave holds no more`, async () => {
    const image = await push(4)
    await writeFile(join(own, 'config.json'), JSON.stringify(config(proxy.address)))
    // It gives another password each time.
    await program(
      'docker-credential-test',
      `read server; n=$(($(cat ${own}/n 2>/dev/null || echo 0) + 1)); echo $n >${own}/n
[ "$1 $server" = "get ${proxy.address}" ] || exit 1
printf '{"ServerURL":"%s","Username":"ci","Secret":"${SECRETS.helper}-%s"}' "$server" "$n"`,
    )
    await calls()
    await rm(join(own, 'n'), { force: true })
    let valid = 1
    proxy.lie((asked, upstream, response) => {
      const refused = guarded(() => basic(`${SECRETS.helper}-${valid}`))(asked, upstream, response)
      // The password changes in the middle of the pull, before its layers.
      if (!refused && valid === 1 && asked.path.endsWith(`/blobs/${image.config.digest}`)) valid = 2
      return refused
    })
    const result = await pull(image.name)
    assert.equal(result.exitCode, 0, result.text)
    assert.equal(await calls(), 2)
  })
}

test('a helper that has nothing means no credentials; one that fails is named, without what it says', async () => {
  const image = await push()
  await writeFile(join(own, 'config.json'), JSON.stringify({ credsStore: 'test' }))
  proxy.lie(guarded(() => basic('x')))
  await program('docker-credential-test', 'echo "credentials not found in native keychain"; exit 1')
  const nothing = await pull(image.name)
  assert.equal(nothing.exitCode, 77)
  assert.match(nothing.text, /there are no credentials for it/)
  await program('docker-credential-test', `echo ${SECRETS.helper}; echo ${SECRETS.helper} >&2; exit 3`)
  const failing = await pull(image.name)
  assert.equal(failing.exitCode, 65)
  assert.match(failing.text, /the credential helper docker-credential-test failed with exit status 3/)
  await program('docker-credential-test', `echo '{"Username":"ci","Secret":"${SECRETS.helper}"'`)
  assert.match((await pull(image.name)).text, /gave an answer that is not understood/)
  await writeFile(join(own, 'config.json'), JSON.stringify({ credsStore: 'absent' }))
  assert.match((await pull(image.name)).text, /docker-credential-absent is not installed/)
})

test("kubelet's plugins are asked for the images that they are for, and their answers kept", async () => {
  const answer = (password: string, duration = '1h') =>
    JSON.stringify({
      apiVersion: 'credentialprovider.kubelet.k8s.io/v1',
      kind: 'CredentialProviderResponse',
      cacheKeyType: 'Registry',
      cacheDuration: duration,
      auth: { [`${proxy.address}/auth`]: { username: 'ci', password }, '*.*.*.*': { username: 'no', password: 'no' } },
    })
  await program('test-provider', `[ "$1 $2 $WHO" = "--for image ci" ] || exit 1; cat >${own}/asked; cat ${own}/answer`)
  await writeFile(join(own, 'answer'), answer(SECRETS.plugin))
  await provider(`127.0.*.1:${proxy.address.split(':')[1]}/auth`)
  await calls()
  proxy.lie(guarded(() => basic(SECRETS.plugin)))
  const image = await push()
  const result = await pull(image.name)
  assert.equal(result.exitCode, 0, result.text)
  assert.deepEqual(JSON.parse(await readFile(join(own, 'asked'), 'utf8')), {
    kind: 'CredentialProviderRequest',
    apiVersion: 'credentialprovider.kubelet.k8s.io/v1',
    image: image.name.replace(':latest', ''),
  })
  assert.equal((await pull((await push()).name)).exitCode, 0)
  assert.equal(await calls(), 1, 'kept for the registry')

  // What was kept is withdrawn: the plugin is asked again.
  proxy.lie(guarded(() => basic(`${SECRETS.plugin}-2`)))
  await writeFile(join(own, 'answer'), answer(`${SECRETS.plugin}-2`))
  assert.equal((await pull((await push()).name)).exitCode, 0)
  assert.equal(await calls(), 1)

  await provider('*.example/auth')
  assert.equal((await pull((await push()).name)).exitCode, 77, 'not for this registry')
  await provider(proxy.address, '  - name: ../escape\n')
  const broken = await pull((await push()).name)
  assert.equal(broken.exitCode, 65)
  assert.match(broken.text, /own\.yaml cannot be used: providers\.1\.name/)
})

test('credentials that come with a request are used for it, and for no other', async () => {
  const image = await push()
  proxy.lie(guarded(() => basic(SECRETS.request)))
  assert.equal((await pull(image.name)).exitCode, 77)
  const result = await pull(image.name, `${SECRETS.request}\n`, '--user', 'ci', '--password-stdin')
  assert.equal(result.exitCode, 0, result.text)
  assert.equal((await pull(image.name)).exitCode, 77, 'nobody else has them')
  const half = await pull(image.name, '', '--user', 'ci')
  assert.equal(half.exitCode, 64)
  assert.match(half.text, /--user and --password-stdin belong together/)

  const body = { type: 'image.pull', subject: image.name }
  const other = { username: 'ci', password: SECRETS.request, serveraddress: 'https://elsewhere.example/v1/' }
  const header = (value: unknown) => ({
    prefer: 'wait=60',
    'x-registry-auth': Buffer.from(JSON.stringify(value)).toString('base64url'),
  })
  assert.equal((await node.http('POST', '/v1/commands', body, header(other))).status, 401, 'not for this registry')
  const fit = { ...other, serveraddress: proxy.address }
  assert.equal((await node.http('POST', '/v1/commands', body, header(fit))).status, 200)
  const malformed = await node.http('POST', '/v1/commands', body, header({ password: SECRETS.request }))
  assert.equal(malformed.status, 400)
  assert.match(malformed.text, /X-Registry-Auth/)
  assert.doesNotMatch(malformed.text, /canary/)
})

test('credentials of a request are for its steps too', async () => {
  const image = await push()
  proxy.lie(guarded(() => basic(SECRETS.request)))
  const headers = {
    prefer: 'wait=60',
    'x-registry-auth': Buffer.from(JSON.stringify({ username: 'ci', password: SECRETS.request })).toString('base64url'),
  }
  const payload = { image: image.name, options: { args: ['true'] } } // Which is not in the image: it is pulled all the same.
  const answer = await node.http('POST', '/v1/commands', { type: 'container.run', subject: 'c1', payload }, headers)
  assert.match(answer.text, /"field":"process.args"/)
  assert.ok((await node.cli('images', '--format', 'json')).stdout.includes(image.name))
  assert.equal((await node.cli('images', '--format', 'json')).stdout.includes('canary'), false)
  await node.cli('rm', '-f', 'c1')
})

test('after a restart a pull whose credentials came with it says that they are gone', async () => {
  const image = await push()
  const reached = Promise.withResolvers<void>()
  proxy.lie((asked) => {
    if (!asked.path.includes('/blobs/')) return false
    reached.resolve()
    return true // No answer.
  })
  const headers = {
    'x-registry-auth': Buffer.from(JSON.stringify({ username: 'ci', password: SECRETS.request })).toString('base64url'),
  }
  const answer = await node.http('POST', '/v1/commands', { type: 'image.pull', subject: image.name }, headers)
  const { id } = answer.json as { id: string }
  await reached.promise
  await node.kill9()
  await node.restart()
  const command = await ended(node, id)
  assert.equal(command.error?.code, 'unauthenticated')
  assert.match(command.error?.message ?? '', /credentials that came with the request are gone/)
})

test('no byte that the node keeps or says has a credential in it', async () => {
  const secrets = Object.values(SECRETS).flatMap((secret) => [secret, basic(secret).slice(-12, -4)])
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
  assert.equal(await node.stop(), 0)
  for (const entry of await readdir(node.dir, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (entry.isFile()) texts.push([path, (await readFile(path)).toString('latin1')])
  }
  for (const [where, content] of texts)
    for (const secret of secrets) assert.ok(!content.includes(secret), `${secret} is in ${where}`)
})
