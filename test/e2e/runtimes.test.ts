import assert from 'node:assert/strict'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { isHybrid } from '../../src/shim/runtime-namespace.ts'
import { startCliNode } from '../support/cli.ts'
import type { TestNode } from '../support/daemon.ts'
import { taskOf } from '../support/faults.ts'

const told = async (node: TestNode) => {
  const { defaultRuntime, crun } = (await node.http('GET', '/v1/info')).json as Record<string, unknown>
  return { defaultRuntime, crun }
}

const runtimeOf = async (node: TestNode, id: string) => (await taskOf(node, id)).runtime

test('crun is the default where it works, with the same filter for every container; --runtime says otherwise', async () => {
  await using at = await startCliNode()
  const { node, image } = at
  const { defaultRuntime, crun } = await told(node)
  assert.equal(defaultRuntime, 'crun')
  assert.match(String(crun), isHybrid() ? /^works, in a mount namespace without/ : /^works$/)
  // The second is given the program that the profile of the first was compiled to.
  const script = 'grep Seccomp: /proc/self/status; mount -t tmpfs x /tmp; unshare 2>&1; exec sleep 1000'
  const programs: Buffer[] = []
  for (const id of ['c0', 'c1']) {
    assert.equal((await at.cli('run', '-d', '--name', id, image, 'sh', '-c', script)).exitCode, 0)
    assert.equal(await runtimeOf(node, id), 'crun')
    assert.match((await at.cli('exec', id, 'grep', 'Seccomp:', '/proc/1/status')).stdout, /Seccomp:\t2/)
    programs.push(await readFile(join(node.state, 'runc/default', id, 'seccomp.bpf')))
    const config = JSON.parse(await readFile(join(node.state, 'tasks/default', id, 'config.json'), 'utf8'))
    assert.equal(config.annotations !== undefined, id === 'c1')
  }
  assert.ok(programs[1] !== undefined && programs[0]?.equals(programs[1]))
  assert.equal((await at.cli('run', '-d', '--name', 'r', '--runtime', 'runc', image, 'sleep', '1000')).exitCode, 0)
  assert.equal(await runtimeOf(node, 'r'), 'runc')
})

test("users are those of the container's own files, whichever runtime it has and wherever its root is mounted", async () => {
  await using at = await startCliNode()
  const { image } = at
  for (const runtime of ['crun', 'runc']) {
    const script = 'echo "late:x:4242:4242::/:/bin/sh" >> /etc/passwd; exec sleep 1000'
    const run = () =>
      at.cli('run', '-d', '--name', runtime, '--runtime', runtime, '-u', 'root', image, 'sh', '-c', script)
    assert.equal((await run()).exitCode, 0)
    assert.equal((await at.cli('run', '--rm', '--runtime', runtime, '-u', 'user', image, 'id', '-u')).stdout, '1000\n')
    assert.equal((await at.cli('exec', '-u', 'late', runtime, 'id', '-u')).stdout, '4242\n')
    assert.notEqual((await at.cli('run', '--rm', '--runtime', runtime, '-u', 'late', image, 'id')).exitCode, 0)
  }
})

test('a mount that is shared back with the host has a runtime that can', async () => {
  await using at = await startCliNode()
  const { node, image } = at
  const source = join(node.dir, 'shared')
  await mkdir(source)
  await at.cli('run', '-d', '--name', 'c', '-v', `${source}:/s:rshared`, image, 'sleep', '1000')
  await at.cli('run', '-d', '--name', 'd', '-v', `${source}:/s:rslave`, image, 'sleep', '1000')
  assert.equal(await runtimeOf(node, 'c'), isHybrid() ? 'runc' : 'crun')
  assert.equal(await runtimeOf(node, 'd'), 'crun')
})

test('the default can be configured', async () => {
  await using at = await startCliNode({ config: 'defaultRuntime = "runc"' })
  assert.equal((await told(at.node)).defaultRuntime, 'runc')
  await at.cli('run', '-d', '--name', 'c', at.image, 'sleep', '1000')
  assert.equal(await runtimeOf(at.node, 'c'), 'runc')
})
