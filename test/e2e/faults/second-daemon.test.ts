import assert from 'node:assert/strict'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { startNode, type TestNode } from '../../support/daemon.ts'

async function daemonOn(node: TestNode, root: string, state: string) {
  const child = node.spawnCli('daemon', '--root', root, '--state', state)
  child.stdin.end()
  const [stderr, [exitCode]] = await Promise.all([child.stderr ? text(child.stderr) : '', once(child, 'close')])
  return { stderr, exitCode }
}

test('a second daemon on the directories of one that runs is refused, and disturbs nothing', async () => {
  await using node = await startNode()
  const other = `${node.dir}/other`
  for (const [root, state, taken] of [
    [node.root, node.state, node.root],
    [node.root, other, node.root],
    [other, node.state, node.state],
  ] as const) {
    const { exitCode, stderr } = await daemonOn(node, root, state)
    assert.equal(exitCode, 65, stderr)
    assert.match(stderr, new RegExp(`another daemon, process ${node.pid}, uses ${taken}\\b`))
    assert.match(stderr, /of its own/)
  }
  assert.equal((await node.cli('namespace', 'create', 'undisturbed')).exitCode, 0)
  await node.kill9()
  await node.restart()
  assert.match((await node.cli('namespace', 'ls')).stdout, /undisturbed/)
})
