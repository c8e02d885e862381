import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { startNode } from '../support/daemon.ts'
import { sha256, tarOf } from '../support/tars.ts'

const FOREIGN = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip'
const MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json'

/** A server of blobs by path, that notes who asked. */
async function serve(paths: ReadonlyMap<string, { body: Buffer; type?: string }>) {
  const asked: IncomingMessage[] = []
  const server = createServer((request, response) => {
    asked.push(request)
    const found = paths.get(request.url ?? '')
    if (request.url === '/v2/') response.end()
    else if (!found) response.writeHead(404).end()
    else response.writeHead(200, { 'content-type': found.type ?? 'application/octet-stream' }).end(found.body)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return { address: `127.0.0.1:${port}`, asked, [Symbol.dispose]: () => server.close().closeAllConnections() }
}

/** A registry that has all of an image but its only layer, which lies at the URLs. */
async function registryWithout(layer: Buffer, tar: Buffer, urls: readonly string[]) {
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: [sha256(tar)] },
    }),
  )
  const layers = [{ mediaType: FOREIGN, digest: sha256(layer), size: layer.length, urls }]
  const described = {
    mediaType: 'application/vnd.docker.container.image.v1+json',
    digest: sha256(config),
    size: config.length,
  }
  const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MANIFEST, config: described, layers }))
  return serve(
    new Map([
      ['/v2/x/manifests/latest', { body: manifest, type: MANIFEST }],
      [`/v2/x/manifests/${sha256(manifest)}`, { body: manifest, type: MANIFEST }],
      [`/v2/x/blobs/${sha256(config)}`, { body: config }],
    ]),
  )
}

test('a layer that registries may not distribute comes from its URLs, checked and without credentials, unless refused', async () => {
  const tar = tarOf([{ name: 'file', data: 'foreign' }])
  const layer = gzipSync(tar)
  using elsewhere = await serve(
    new Map([
      ['/layer', { body: layer }],
      ['/wrong', { body: gzipSync(tarOf([{ name: 'bad' }])) }],
    ]),
  )
  const at = (path: string) => `http://${elsewhere.address}${path}`
  using registry = await registryWithout(layer, tar, ['ftp://nowhere/', at('/missing'), at('/layer')])
  const other = tarOf([{ name: 'other', data: 'foreign' }])
  using lying = await registryWithout(gzipSync(other), other, [at('/wrong')])
  await using node = await startNode()
  const pulled = await node.cli('pull', `${registry.address}/x:latest`)
  assert.equal(pulled.exitCode, 0, pulled.stderr)
  assert.deepEqual(
    elsewhere.asked.map(({ url }) => url),
    ['/missing', '/layer'],
  )
  assert.ok(elsewhere.asked.every(({ headers }) => headers.authorization === undefined))
  assert.match((await node.cli('history', `${registry.address}/x:latest`)).stdout, /pulled/)
  const refused = await node.cli('pull', `${lying.address}/x:latest`)
  assert.notEqual(refused.exitCode, 0)
  const [known, ...more] = (await node.cli('images', '--format', 'ndjson')).stdout.trimEnd().split('\n')
  assert.equal(JSON.parse(known ?? '').name, `${registry.address}/x:latest`)
  assert.deepEqual(more, [])
})

test('a layer that registries may not distribute is refused where the configuration says so', async () => {
  const tar = tarOf([{ name: 'file', data: 'foreign' }])
  const layer = gzipSync(tar)
  using elsewhere = await serve(new Map([['/layer', { body: layer }]]))
  using registry = await registryWithout(layer, tar, [`http://${elsewhere.address}/layer`])
  await using node = await startNode({ config: '[pull]\nforeignLayers = "refuse"\n' })
  const { stderr, exitCode } = await node.cli('pull', `${registry.address}/x:latest`)
  assert.match(stderr, /is not distributable \(application\/vnd\.docker\.image\.rootfs\.foreign.*pull\.foreignLayers/s)
  assert.notEqual(exitCode, 0)
  assert.equal(elsewhere.asked.length, 0)
})
