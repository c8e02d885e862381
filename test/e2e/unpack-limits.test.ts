import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { startNode } from '../support/daemon.ts'
import { startRegistry } from '../support/registry.ts'
import { type TestEntry, tarOf } from '../support/tars.ts'

const hostile: Record<string, { entries: TestEntry[]; said: RegExp }> = {
  'too many entries': {
    entries: Array.from({ length: 12 }, (_, at) => ({ name: `f${at}` })),
    said: /the layer has more than 10 entries, the limit is 10.*unpack\.entriesMax/s,
  },
  'a bomb': {
    entries: [{ name: 'zeros', data: Buffer.alloc(2 ** 22) }],
    said: /more than 50 bytes for each compressed one.*unpack\.ratioMax/s,
  },
  'a device': {
    entries: [{ name: 'disk', flag: '4', major: 8 }],
    said: /the layer has the device "disk".*unpack\.devices/s,
  },
}

test('an image that asks for too much is refused, says which limit it was, and leaves nothing', async () => {
  await using registry = await startRegistry()
  const limits = 'entriesMax = 10\nratioMax = 50\nratioFromBytes = 1048576\ndevices = "refuse"'
  await using node = await startNode({ config: `[unpack]\n${limits}\n` })
  for (const [what, { entries, said }] of Object.entries(hostile)) {
    const name = what.replaceAll(' ', '-')
    const fine = tarOf([{ name: 'fine', data: 'x' }])
    const image = await registry.pushImage({ repository: name, tag: 'latest', layers: [fine, tarOf(entries)] })
    const { exitCode, stderr } = await node.cli('pull', image.reference)
    assert.match(stderr, said, what)
    assert.notEqual(exitCode, 0)
  }
  const snapshots = join(node.root, 'snapshotters/overlayfs/snapshots')
  assert.ok(existsSync(snapshots))
  await node.cli('gc')
  assert.deepEqual(readdirSync(snapshots), [])
  assert.equal((await node.cli('images', '-q')).stdout, '')
})
