import assert from 'node:assert/strict'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { startCliNode } from '../../support/cli.ts'
import { checkBooks } from '../../support/faults.ts'

test('an image is removed though the directories of its layers are gone already, as after a removal that was cut off', async () => {
  await using at = await startCliNode()
  const { node, image } = at
  const dir = join(node.root, 'snapshotters/overlayfs/snapshots')
  const names = await readdir(dir)
  assert.ok(names.length > 0)
  for (const name of names) await rm(join(dir, name), { recursive: true })
  const removed = await node.cli('rmi', image)
  assert.equal(removed.exitCode, 0, removed.stderr)
  assert.equal((await node.cli('gc')).exitCode, 0)
  const ran = await node.cli('run', '--rm', image, 'echo', 'again')
  assert.deepEqual([ran.exitCode, ran.stdout], [0, 'again\n'], ran.stderr)
  await checkBooks(node)
})
