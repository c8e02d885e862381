import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, type TestContext, test } from 'node:test'
import { digestOf } from '../../../src/model/digest.ts'
import { watch } from '../../support/cli.ts'
import { startNode, type TestNode } from '../../support/daemon.ts'
import { eventually, instant } from '../../support/faults.ts'
import { type PushedImage, startRegistry, type TestRegistry, tarLayer } from '../../support/registry.ts'
import { skopeo } from '../../support/skopeo.ts'

let registry: TestRegistry
let node: TestNode
let image: PushedImage
let own = ''

before(async () => {
  registry = await startRegistry()
  node = await startNode()
  own = await mkdtemp(join(tmpdir(), 'kill-images-'))
  const layers = [await tarLayer([{ name: 'random', content: randomBytes(30_000_000) }])]
  image = await registry.pushImage({ repository: 'kill/images', tag: 'v1', layers, compression: 'none' })
  assert.equal((await node.cli('pull', '-q', image.reference)).exitCode, 0)
})
after(async () => {
  await node[Symbol.asyncDispose]()
  await registry[Symbol.asyncDispose]()
  await rm(own, { recursive: true })
})

/** Kills the daemon a moment after something has begun, and starts it again. @returns how the command line, which waits, ends */
async function killedDuring(t: TestContext, hasBegun: () => Promise<boolean>, ...args: string[]) {
  const ended = watch(node.spawnCli(...args)).closed
  await eventually(hasBegun, (begun) => begun)
  await node.kill9After(instant(t, 'killed', 400))
  await node.restart()
  return await ended
}

const said = (type: string) => async () => (await node.cli('events', '--filter', `type=${type}`)).stdout !== ''

test('a push that a kill cuts off goes on and ends', async (t) => {
  const to = `${registry.address}/kill/pushed:v1`
  // From another place, so that nothing can be mounted.
  await using other = await startRegistry()
  const there = to.replace(registry.address, other.address)
  const { exitCode, stderr } = await killedDuring(t, said('image.pushing'), 'push', '--to', there, image.reference)
  assert.equal(exitCode, 0, stderr)
  const raw = await skopeo('inspect', '--raw', '--tls-verify=false', `docker://${there}`)
  assert.equal(digestOf(raw), image.descriptor.digest)
})

test('a load that a kill cuts off, wherever it is, goes on and ends; nothing of it stays behind', async (t) => {
  const file = join(own, 'image.tar')
  assert.equal((await node.cli('save', '-o', file, image.reference)).exitCode, 0)
  const isSending = async () => (await readdir(join(node.root, 'uploads'))).length > 0
  const { exitCode, stderr } = await killedDuring(t, isSending, '-n', 'loaded', 'load', '-i', file)
  assert.equal(exitCode, 0, stderr)
  const [loaded] = JSON.parse((await node.cli('-n', 'loaded', '--format', 'json', 'images')).stdout)
  assert.equal(loaded.target.digest, image.descriptor.digest)
  assert.deepEqual(await readdir(join(node.root, 'uploads')), [])
})

test('a conversion that a kill cuts off goes on and ends', async (t) => {
  const { exitCode, stderr } = await killedDuring(
    t,
    said('image.converting'),
    'image',
    'convert',
    '--zstd',
    image.reference,
    'converted:1',
  )
  assert.equal(exitCode, 0, stderr)
  assert.equal((await node.cli('image', 'check', 'converted:1')).exitCode, 0)
  assert.equal((await node.cli('gc')).exitCode, 0)
  assert.deepEqual(await readdir(join(node.root, 'content/ingest')), [])
})
