import assert from 'node:assert/strict'
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { startCliNode } from '../support/cli.ts'
import type { TestNode } from '../support/daemon.ts'
import { checkBooks, eventually, gone, taskOf } from '../support/faults.ts'

/** Pids of the shims of a node that have no task, by their ids. */
async function sparesOf(node: TestNode, namespace = 'default'): Promise<Map<string, number>> {
  const spares = new Map<string, number>()
  for (const id of await readdir(join(node.state, 'spares', namespace)).catch(() => [])) {
    for (const pid of await readdir('/proc')) {
      const args = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0')
      // Not the one that only starts the other.
      if (args.includes(id) && args.at(-2) !== 'start') spares.set(id, Number(pid))
    }
  }
  return spares
}

const two = (node: TestNode, namespace?: string) =>
  eventually(
    () => sparesOf(node, namespace),
    (spares) => spares.size === 2,
  )

const shimOf = (node: TestNode, id: string) =>
  readFile(join(node.state, 'tasks/default', id, 'shim-id'), 'utf8').catch(() => 'its own')

test('after a start, shims wait for the next tasks; each has one, and keeps it over a kill of the daemon', async () => {
  await using at = await startCliNode()
  const { node, image } = at
  const script = 'echo begun; trap "echo told; exit 7" USR1; while :; do sleep 0.05; done'
  const run = (id: string) => at.cli('run', '-d', '--name', id, image, 'sh', '-c', script)
  assert.deepEqual(await sparesOf(node), new Map())
  await run('c0')
  assert.equal(await shimOf(node, 'c0'), 'its own')
  const waiting = await two(node)
  await run('c1')
  await run('c2')
  const used = [await shimOf(node, 'c1'), await shimOf(node, 'c2')]
  assert.deepEqual(used.sort(), [...waiting.keys()].sort())
  // Of another namespace: those of this one are not for it.
  assert.equal((await at.cli('-n', 'other', 'pull', '-q', image)).exitCode, 0)
  assert.equal((await at.cli('-n', 'other', 'run', '--rm', image, 'echo', 'there')).stdout, 'there\n')
  await two(node, 'other')

  const left = await two(node)
  await node.kill9()
  await at.cli('kill', '-s', 'USR1', 'c1') // Refused: nobody is there.
  await node.restart()
  for (const pid of left.values()) await gone(pid)
  assert.deepEqual(await sparesOf(node), new Map())
  for (const id of ['c0', 'c1', 'c2']) {
    assert.equal((await taskOf(node, id)).status, 'running')
    assert.equal((await at.cli('kill', '-s', 'USR1', id)).exitCode, 0)
    assert.equal((await at.cli('wait', id)).stdout, '7\n')
    assert.equal((await at.cli('logs', id)).stdout, 'begun\ntold\n')
    assert.equal((await at.cli('rm', id)).exitCode, 0)
  }
  await checkBooks(node)
})

test('a spare shim that was killed is not given to a task; one with a terminal or an input works as any', async () => {
  await using at = await startCliNode()
  const { node, image } = at
  await at.cli('run', '--rm', image, 'true')
  for (const pid of (await two(node)).values()) process.kill(pid, 'SIGKILL')
  assert.equal((await at.cli('run', '--rm', image, 'echo', 'fine')).stdout, 'fine\n')
  for (const id of (await two(node)).keys()) await rm(join(node.state, 'spares/default', id), { recursive: true })
  assert.equal((await at.cli('run', '--rm', image, 'echo', 'fine')).stdout, 'fine\n', 'nor one without its directory')

  await two(node)
  const child = node.spawnCli('run', '--rm', '-i', image, 'cat')
  child.stdin.end('through')
  let stdout = ''
  for await (const chunk of child.stdout ?? []) stdout += chunk
  assert.equal(stdout, 'through')

  await two(node)
  await using terminal = await at.terminal(
    'run',
    '-it',
    '--rm',
    '--name',
    'tty',
    image,
    'sh',
    '-c',
    'tty; exec sleep 99',
  )
  await terminal.see('/dev/pts/0')
  assert.match(await shimOf(node, 'tty'), /^spare-/)
  assert.equal((await at.cli('rm', '-f', 'tty')).exitCode, 0)
  await two(node)
})

test('with spareShims = 0 none are started', async () => {
  await using at = await startCliNode({ config: '[workers]\nspareShims = 0' })
  for (let round = 0; round < 3; round++) assert.equal((await at.cli('run', '--rm', at.image, 'true')).exitCode, 0)
  assert.deepEqual(await readdir(join(at.node.state, 'spares')).catch(() => []), [])
})
