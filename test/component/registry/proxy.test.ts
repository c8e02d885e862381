import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdir, mkdtempDisposable, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { RegistryClient, type RegistryClientOptions } from '../../../src/registry/client.ts'
import { type Authority, startAuthority } from '../../support/certificates.ts'
import { startProxy } from '../../support/proxy.ts'

/** What the proxy was asked for, by the name of the host. */
const asked: string[] = []
let authority: Authority
let sealed: Awaited<ReturnType<typeof startProxy>>
/** Answers for plain hosts itself; connects to the sealed registry, whatever the name. */
const proxy = createServer((request, response) => {
  asked.push(`${request.method} ${URL.parse(request.url ?? '')?.host}`)
  response.writeHead(404).end()
})
let proxyUrl = ''

before(async () => {
  authority = await startAuthority()
  sealed = await startProxy('nowhere.invalid:80', await authority.issue('sealed'))
  sealed.lie((_asked, _upstream, response) => Boolean(response.writeHead(404).end()))
  proxy.on('connect', ({ url = '' }, socket) => {
    asked.push(`CONNECT ${url}`)
    const [host, port] = sealed.address.split(':')
    const to = connect(Number(port), host, () => socket.write('HTTP/1.1 200 OK\r\n\r\n'))
    to.pipe(socket).pipe(to)
    for (const each of [to, socket]) each.on('error', () => {})
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  proxyUrl = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`
})
after(async () => {
  await sealed[Symbol.asyncDispose]()
  await authority[Symbol.asyncDispose]()
  proxy.closeAllConnections()
  proxy.close()
})

/** Asks for an image that is not there. @returns the error's code */
async function ask(options: Partial<RegistryClientOptions>, registry = 'reg.example'): Promise<unknown> {
  const more = { credentials: async () => undefined, userAgent: 'test', retry: { attemptsMax: 1 }, ...options }
  await using client = new RegistryClient(more)
  asked.length = 0
  const resolved = client.open({ registry, repository: 'x', tag: 'latest' }).resolve(AbortSignal.timeout(10_000))
  return await resolved.catch((error: unknown) => (error instanceof Error && 'code' in error ? error.code : error))
}

test('a host goes by the proxy that its hosts.toml names, and proves itself through it', async () => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'purser-proxy-'))
  await mkdir(join(dir.path, 'reg.example'))
  const configure = (toml: string) =>
    writeFile(join(dir.path, 'reg.example/hosts.toml'), `${toml}\nproxy = "${proxyUrl}"\n`)
  await configure('server = "http://reg.example:5000"')
  assert.equal(await ask({ configPaths: [dir.path] }), 'not_found')
  assert.deepEqual(new Set(asked), new Set(['HEAD reg.example:5000', 'GET reg.example:5000']))
  await configure(`server = "https://localhost:5443"\nca = "${authority.certFile}"`)
  assert.equal(await ask({ configPaths: [dir.path] }), 'not_found')
  assert.deepEqual(new Set(asked), new Set(['CONNECT localhost:5443']))
  await configure('server = "https://localhost:5443"')
  assert.equal(await ask({ configPaths: [dir.path] }), 'failed_precondition', 'its authority is not known')
})

test('the proxies of the environment are used, but for names that need none', async () => {
  const plainHttp = () => true
  const proxies = { http: proxyUrl, https: proxyUrl, none: 'other.example,127.0.0.1' }
  assert.equal(await ask({ plainHttp, proxies }), 'not_found')
  assert.deepEqual(new Set(asked), new Set(['HEAD reg.example', 'GET reg.example']))
  assert.equal(await ask({ proxies }), 'failed_precondition', 'its authority is not known')
  assert.deepEqual(new Set(asked), new Set(['CONNECT reg.example:443']))
  assert.equal(await ask({ proxies }, sealed.address), 'not_found')
  assert.deepEqual(asked, [])
  assert.equal(await ask({ plainHttp, proxies: { ...proxies, http: 'http://127.0.0.1:1' } }), 'unavailable')
})
