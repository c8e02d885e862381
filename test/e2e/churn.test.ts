import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pushTinyImage } from '../../scripts/tiny-image.ts'
import { startNode } from '../support/daemon.ts'
import { startRegistry } from '../support/registry.ts'

test('containers that come and go at the same time do not disturb each other', async () => {
  await using registry = await startRegistry()
  await using node = await startNode()
  const image = await pushTinyImage({ registry: registry.address, repository: 'churn', tag: 'latest' })
  assert.equal((await node.cli('pull', '-q', image)).exitCode, 0)
  const left = Array.from({ length: 48 }, (_, index) => index)
  const failures: string[] = []
  const caller = async () => {
    for (let each = left.pop(); each !== undefined; each = left.pop()) {
      const payload = { image, options: { args: ['true'] }, onExit: 'remove' }
      const ran = await node.http('POST', '/v1/commands', { type: 'container.run', payload }, { prefer: 'wait=60' })
      if (ran.status !== 200) failures.push(ran.text)
    }
  }
  await Promise.all(Array.from({ length: 8 }, caller))
  assert.deepEqual(failures, [])
  const containers = async () => (await node.cli('ps', '-a', '-q')).stdout
  const deadline = Date.now() + 30_000
  while ((await containers()) !== '') assert.ok(Date.now() < deadline, `not removed: ${await containers()}`)
})
