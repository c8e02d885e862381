import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { z } from 'zod'
import { startNode, type TestNode } from '../support/daemon.ts'
import { eventually } from '../support/faults.ts'
import { type PushedImage, startRegistry, type TestRegistry, tarLayer } from '../support/registry.ts'

const LINKS = ['sh', 'cat', 'sleep', 'true', 'ls', 'stat', 'readlink']

/** Busybox, with what tells images apart on top. */
async function push(registry: TestRegistry, repository: string, mark: string): Promise<PushedImage> {
  const bottom = await tarLayer([
    { name: 'bin', type: 'directory' },
    { name: 'bin/busybox', content: await readFile('/bin/busybox'), mode: 0o4755, uid: 0 },
    ...LINKS.map((name) => ({ name: `bin/${name}`, type: 'symlink' as const, linkname: 'busybox' })),
    { name: 'etc', type: 'directory' },
    { name: 'etc/gone', content: 'below' },
    { name: 'proc', type: 'directory' },
    { name: 'dev', type: 'directory' },
    { name: 'sys', type: 'directory' },
  ])
  const top = await tarLayer([
    { name: 'etc/mark', content: mark, mode: 0o640, uid: 1000, gid: 1001 },
    { name: 'etc/again', type: 'link', linkname: 'etc/mark' },
    { name: 'etc/.wh.gone' },
  ])
  return await registry.pushImage({ repository, tag: 'latest', layers: [bottom, top] })
}

async function stored(node: TestNode): Promise<{ blobs: string[]; ingests: string[]; snapshots: number }> {
  const list = (dir: string) => readdir(join(node.root, dir)).catch(() => [])
  const snapshots = await Promise.all(['overlayfs', 'native'].map((name) => list(`snapshotters/${name}/snapshots`)))
  return {
    blobs: (await list('content/blobs/sha256')).sort(),
    ingests: await list('content/ingest'),
    snapshots: snapshots.flat().length,
  }
}

async function done(node: TestNode, ...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await node.cli(...args)
  assert.equal(exitCode, 0, `${args.join(' ')}: ${stderr}`)
  return stdout
}

for (const snapshotter of ['overlayfs', 'native']) {
  test(`a container on ${snapshotter} sees its layers as one tree, and leaves nothing`, async () => {
    await using registry = await startRegistry()
    await using node = await startNode()
    const image = await push(registry, 'tree', 'one')
    const options = {
      args: ['sh', '-c', 'cat /etc/mark; ls /etc; stat -c "%a %u:%g %h" /etc/mark /bin/busybox; echo x >/new'],
    }
    const run = { type: 'container.run', subject: 'c1', payload: { image: image.reference, snapshotter, options } }
    const ran = await node.http('POST', '/v1/commands', run, { prefer: 'wait=60' })
    assert.equal(ran.status, 200, ran.text)
    assert.equal((await done(node, 'wait', 'c1')).trim(), '0')
    assert.equal(await done(node, 'logs', 'c1'), 'oneagain\nmark\n640 1000:1001 2\n4755 0:0 1\n')
    await done(node, 'rm', 'c1')
    await done(node, 'rmi', image.reference)
    await done(node, 'gc')
    assert.deepEqual(await stored(node), { blobs: [], ingests: [], snapshots: 0 })
  })
}

test('images share their layers: one that goes takes nothing from the other', async () => {
  await using registry = await startRegistry()
  await using node = await startNode()
  const [one, two] = [await push(registry, 'one', 'one'), await push(registry, 'two', 'two')]
  await done(node, 'pull', '-q', one.reference)
  await done(node, 'pull', '-q', two.reference)
  assert.equal((await stored(node)).snapshots, 3, 'the bottom once, two tops')
  await done(node, 'rmi', one.reference)
  await done(node, 'gc')
  const left = await stored(node)
  assert.equal(left.snapshots, 2)
  assert.equal(left.blobs.length, 4, 'manifest, configuration and two layers')
  assert.equal(await done(node, 'run', '--rm', two.reference, 'cat', '/etc/mark'), 'two')
})

test('an image that is removed stays with the container that runs on it', async () => {
  await using registry = await startRegistry()
  await using node = await startNode()
  const image = await push(registry, 'kept', 'kept')
  await done(node, 'run', '-d', '--name', 'c1', image.reference, 'sleep', '1000')
  assert.match((await node.cli('rmi', image.reference)).stderr, /is used by container c1/)
  await done(node, 'rmi', '-f', image.reference)
  await done(node, 'gc')
  assert.equal(await done(node, 'exec', 'c1', 'cat', '/etc/mark'), 'kept')
  await done(node, 'kill', 'c1')
  await done(node, 'wait', 'c1')
  await done(node, 'start', 'c1')
  assert.equal(await done(node, 'exec', 'c1', 'cat', '/etc/mark'), 'kept')
  await done(node, 'rm', '-f', 'c1')
  await done(node, 'gc')
  assert.deepEqual(await stored(node), { blobs: [], ingests: [], snapshots: 0 })
})

test('a collection takes nothing from a pull that is under way', async (t) => {
  await using registry = await startRegistry()
  await using node = await startNode()
  let collections = 0
  for (let round = 0; round < 5; round++) {
    const image = await push(registry, `busy${round}`, `busy${round}`)
    const pulling = node.cli('run', '--rm', image.reference, 'cat', '/etc/mark')
    let over = false
    void pulling.then(() => {
      over = true
    })
    while (!over) {
      const collected = await node.http(
        'POST',
        '/v1/commands',
        { type: 'gc.collect', subject: 'node' },
        { prefer: 'wait=30' },
      )
      assert.equal(collected.status, 200, collected.text)
      collections += 1
    }
    const { exitCode, stdout, stderr } = await pulling
    assert.deepEqual([exitCode, stdout, stderr.includes('error')], [0, `busy${round}`, false], stderr)
    await done(node, 'rmi', image.reference)
  }
  t.diagnostic(`${collections} collections`)
})

test('pulled again while what the last attempt left is collected, an image fails for its own reason only', async () => {
  await using registry = await startRegistry()
  await using node = await startNode()
  const layers = await Promise.all([1, 2, 3, 4].map((at) => tarLayer([{ name: `file${at}`, content: `${at}` }])))
  // No tar: what comes before it in the image has been stored by the time that this shows.
  const bad = await registry.pushImage({
    repository: 'bad',
    tag: 'latest',
    layers: [...layers, randomBytes(1 << 20)],
    compression: 'none',
  })
  const pull = { type: 'image.pull', subject: bad.reference }
  const reasons = new Set<string>()
  // One collection after the other goes on while the next attempt finds what they are about to remove.
  let over = false
  const collecting = async () => {
    while (!over)
      await node.http('POST', '/v1/commands', { type: 'gc.collect', subject: 'node' }, { prefer: 'wait=30' })
  }
  const collections = [collecting(), collecting(), collecting()]
  for (let attempt = 0; attempt < 40; attempt++) {
    const pulled = await node.http('POST', '/v1/commands', pull, { prefer: 'wait=30' })
    reasons.add(z.object({ detail: z.string() }).parse(pulled.json).detail)
  }
  over = true
  await Promise.all(collections)
  assert.equal(reasons.size, 1, [...reasons].join('\n'))
  // What one collection still finds in use is the next one's.
  await eventually(
    async () => {
      await done(node, 'gc')
      return stored(node)
    },
    ({ blobs, ingests, snapshots }) => blobs.length + ingests.length + snapshots === 0,
  )
})
