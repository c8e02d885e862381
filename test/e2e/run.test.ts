import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { pushTinyImage } from '../../scripts/tiny-image.ts'
import { startNode } from '../support/daemon.ts'
import { startRegistry } from '../support/registry.ts'

test('an image is pulled and run, its exit code and its story are kept, also over a SIGKILL of the daemon', async () => {
  await using registry = await startRegistry()
  await using node = await startNode()
  const image = await pushTinyImage({ registry: registry.address, repository: 'e2e', tag: 'latest' })
  const ran = await node.cli('run', '--name', 'c1', image, 'sh', '-c', 'echo out; exit 7')
  assert.equal(ran.exitCode, 7)
  assert.equal(ran.stdout, 'out\n')
  const nice = (stat: string) => Number(stat.replace(/^.*\) /s, '').split(' ')[16])
  assert.equal(nice(await readFile(`/proc/${node.pid}/stat`, 'utf8')), -10, 'it answers others before it computes')
  const inside = await node.cli('run', '--rm', image, 'cat', '/proc/self/stat')
  assert.equal(nice(inside.stdout), 0, 'and what it starts has no part in that')
  await node.kill9()
  await node.restart()
  assert.equal((await node.cli('wait', 'c1')).stdout.trim(), '7')
  const check = await node.cli('state', 'rebuild', '--check')
  assert.equal(check.exitCode, 0, check.stdout)
})
