import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pushTinyImage } from '../../scripts/tiny-image.ts'
import { startNode } from '../support/daemon.ts'
import { startRegistry } from '../support/registry.ts'

test('why tells what ended a container, and who asked for it', async () => {
  await using registry = await startRegistry()
  await using node = await startNode()
  const image = await pushTinyImage({ registry: registry.address, repository: 'why', tag: 'latest' })
  const why = async (subject: string) => {
    const { items } = (await node.http('GET', `/v1/why/${subject}`)).json as { items: { text: string }[] }
    return items.map(({ text }) => text)
  }
  await node.cli('run', '--name', 'three', image, 'sh', '-c', 'exit 3')
  assert.deepEqual(await why('three'), ['task/three ended with exit code 3'])

  assert.equal((await node.cli('run', '-d', '--name', 'killed', image, 'sleep', '1000')).exitCode, 0)
  assert.deepEqual(await why('killed'), [])
  assert.equal((await node.cli('kill', 'killed')).exitCode, 0)
  await node.cli('wait', 'killed')
  const killed = await why('killed')
  assert.equal(killed[0], 'task/killed ended with exit code 137, as signal 9 ends a process')
  assert.equal(killed[1], 'signal 9 was sent to it')
  assert.match(killed[2] ?? '', /^task\.kill killed was asked for by unix:uid=0,/)

  await node.cli('run', '--name', 'late', '--timeout', '300ms', image, 'sleep', '1000')
  assert.equal((await why('late'))[0], 'task/late ran longer than it was allowed to (exit code 137)')

  await node.cli('run', '--name', 'nothing', image, '/no/such/program')
  assert.match((await why('nothing')).join('\n'), /no\/such\/program/)

  assert.equal((await node.cli('rm', 'three')).exitCode, 0)
  const removed = await why('three')
  assert.equal(removed[0], 'container/three was deleted')
  assert.match(removed.join('\n'), /container\.remove three was asked for by unix:uid=0,/)
  assert.equal(removed.at(-1), 'task/three ended with exit code 3')

  const unknown = await node.cli('why', 'nobody')
  assert.equal(unknown.exitCode, 66)
  assert.match((await node.cli('why', 'killed')).stdout, /^\S+Z {2}task\/killed ended .*\(event \d+\)\n/)
})
