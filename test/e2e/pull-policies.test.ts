import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { pushTinyImage } from '../../scripts/tiny-image.ts'
import { startNode, type TestNode } from '../support/daemon.ts'
import { checkBooks, eventually, submit, succeeded } from '../support/faults.ts'
import { startGate } from '../support/gate.ts'
import { startProxy } from '../support/proxy.ts'
import { startRegistry, tarLayer } from '../support/registry.ts'

const blobsOf = (node: TestNode) => readdir(join(node.root, 'content/blobs/sha256'))

test('where unpacked layers are discarded, images run without them, and a pull that keeps them brings them back', async () => {
  await using registry = await startRegistry()
  await using proxy = await startProxy(registry.address)
  await using node = await startNode({ config: '[pull]\ndiscardUnpackedLayers = true' })
  await pushTinyImage({ registry: registry.address, repository: 'tiny', tag: 'latest' })
  const name = `${proxy.address}/tiny:latest`
  assert.equal((await node.cli('pull', '-q', name)).exitCode, 0)
  // Manifest and configuration.
  await eventually(
    () => blobsOf(node),
    (blobs) => blobs.length === 2,
  )
  assert.equal((await node.cli('run', '--rm', name, 'echo', 'works')).stdout, 'works\n')
  proxy.lie()
  assert.equal((await node.cli('pull', '-q', name)).exitCode, 0)
  assert.deepEqual(
    proxy.seen.filter(({ path }) => path.includes('/blobs/')),
    [],
  )
  assert.equal((await node.cli('gc')).exitCode, 0)
  assert.equal((await node.cli('run', '--rm', name, 'echo', 'works')).stdout, 'works\n')

  const pushed = await node.cli('push', '-q', '--to', `${registry.address}/elsewhere:latest`, name)
  assert.equal(pushed.exitCode, 66, pushed.stderr)
  assert.match(pushed.stderr, /not in the content store.*--keep-layers/)
  assert.equal((await node.cli('pull', '-q', '--keep-layers', name)).exitCode, 0)
  assert.equal((await blobsOf(node)).length, 3)
  const again = await node.cli('push', '-q', '--to', `${registry.address}/elsewhere:latest`, name)
  assert.equal(again.exitCode, 0, again.stderr)
  await checkBooks(node)
})

test('an urgent pull overtakes a prefetch that is under way, and the prefetch goes on where it was', async () => {
  await using registry = await startRegistry()
  await using node = await startNode({
    config: '[pull]\nconnections = 1\nbytesPerSecond = 4000000\nchunksAtOnce = 1',
  })
  const layers = await Promise.all([1, 2].map((at) => tarLayer([{ name: `f${at}`, content: randomBytes(6 << 20) }])))
  const large = await registry.pushImage({ repository: 'large', tag: 'latest', layers })
  const small = await pushTinyImage({ registry: registry.address, repository: 'small', tag: 'latest' })
  const asked = await node.http('POST', '/v1/commands', {
    type: 'image.pull',
    subject: large.reference,
    priority: 1000,
  })
  assert.equal(asked.status, 202, asked.text)
  const { id } = asked.json as { id: string }
  const ingestedBytes = async () => {
    const names = await readdir(join(node.root, 'content/ingest'))
    const sizes = names.map((each) => stat(join(node.root, 'content/ingest', each, 'data')).catch(() => ({ size: 0 })))
    return (await Promise.all(sizes)).reduce((sum, { size }) => sum + size, 0)
  }
  await eventually(ingestedBytes, (bytes) => bytes > 1_000_000)
  const urgent = await submit(node, { type: 'image.pull', subject: small })
  assert.equal(urgent.status, 200, urgent.text)
  assert.equal((await node.http('GET', `/v1/commands/${id}`)).json?.['status' as never], 'running')
  const ended = await succeeded(node, id)
  // What had come by then was not asked for again.
  const bytes = layers.reduce((sum, layer) => sum + layer.length, 0)
  assert.ok(Number(ended.result?.fetchedBytes) < bytes * 1.05, JSON.stringify(ended.result))

  // Pushes are held to the same bounds: to one connection, and to what a second may bring.
  await using gate = await startGate(registry.address)
  const begunAt = performance.now()
  const pushed = await node.cli('push', '-q', '--to', `${gate.address}/copy:latest`, large.reference)
  assert.equal(pushed.exitCode, 0, pushed.stderr)
  const sentMs = performance.now() - begunAt
  assert.ok(sentMs > (bytes / 4_000_000) * 900, `${bytes} bytes were sent in ${sentMs} ms`)
  assert.equal(gate.bodiesAtOnceMost, 1)
  await checkBooks(node)
})
