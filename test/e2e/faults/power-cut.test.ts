import assert from 'node:assert/strict'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { pushTinyImage } from '../../../scripts/tiny-image.ts'
import { startNode, type TestNode } from '../../support/daemon.ts'
import { checkBooks, events, eventually, submit } from '../../support/faults.ts'
import { startRegistry } from '../../support/registry.ts'

/** As if the machine had lost its power: another boot, and files that had not reached the disk are empty. */
async function cutPower(node: TestNode): Promise<void> {
  await writeFile(join(node.root, 'boot'), '00000000-0000-0000-0000-000000000000\n')
  const dir = join(node.root, 'snapshotters/overlayfs/snapshots')
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) await writeFile(join(entry.parentPath, entry.name), '')
}

test('snapshots are brought to the disk after the pull; those that a power cut may have harmed are unpacked again', async () => {
  await using registry = await startRegistry()
  await using node = await startNode()
  const first = await pushTinyImage({ registry: registry.address, repository: 'first', tag: 'latest' })
  const pulled = await submit(node, { type: 'image.pull', subject: first })
  assert.equal(pulled.status, 200, pulled.text)
  await node.kill9()
  await cutPower(node)
  node.start()
  await node.ready()
  const ran = await node.cli('run', '--rm', first, 'echo', 'whole')
  assert.deepEqual([ran.exitCode, ran.stdout], [0, 'whole\n'], ran.stderr)
  const types = (await events(node)).map(({ type }) => type)
  assert.equal(types.filter((type) => type === 'snapshot.removed').length, 1 + 1, 'the layer, and the container')
  assert.ok(types.indexOf('snapshot.removed') < types.lastIndexOf('snapshot.committed'))

  // Now they are on the disk: a reboot does not touch them.
  await eventually(
    () => events(node),
    (all) => all.some(({ type }) => type === 'snapshot.synced'),
  )
  const before = await readdir(join(node.root, 'snapshotters/overlayfs/snapshots'))
  await node.kill9()
  await writeFile(join(node.root, 'boot'), '00000000-0000-0000-0000-000000000000\n')
  node.start()
  await node.ready()
  assert.deepEqual(await readdir(join(node.root, 'snapshotters/overlayfs/snapshots')), before)
  assert.notEqual(await readFile(join(node.root, 'boot'), 'utf8'), '00000000-0000-0000-0000-000000000000\n')
  await checkBooks(node)
})

test('a daemon that is stopped leaves its snapshots on the disk', async () => {
  await using registry = await startRegistry()
  await using node = await startNode()
  const image = await pushTinyImage({ registry: registry.address, repository: 'image', tag: 'latest' })
  assert.equal((await submit(node, { type: 'image.pull', subject: image })).status, 200)
  await node.restart()
  assert.ok((await events(node)).some(({ type }) => type === 'snapshot.synced'))
})
