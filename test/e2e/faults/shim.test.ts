import assert from 'node:assert/strict'
import { statSync } from 'node:fs'
import { mkdir, readdir, readFile, rename, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { readLog } from '../../../src/shim/log-reader.ts'
import { startCliNode } from '../../support/cli.ts'
import type { TestNode } from '../../support/daemon.ts'
import {
  checkBooks,
  events,
  eventually,
  gone,
  pidOf,
  submit,
  tallyOf,
  taskOf,
  taskReleased,
} from '../../support/faults.ts'
import { shimOf } from '../../support/processes.ts'

async function checkLost(node: TestNode, id: string, pid: number): Promise<void> {
  const task = await eventually(
    () => taskOf(node, id),
    ({ status }) => status === 'stopped',
  )
  assert.equal(task.exitCode, 137)
  assert.match(task.reason ?? '', /^lost: .*shim/)
  await taskReleased(node, id)
  const exits = (await events(node, `task/${id}`)).filter(({ type }) => type === 'task.exited')
  assert.equal(exits.length, 1)
  await gone(pid)
  assert.ok(!(await readFile('/proc/self/mounts', 'utf8')).includes(join(node.state, 'tasks/default', id)), 'mounts')
  assert.ok(!(await readdir(join(node.state, 'tasks/default'))).includes(id), 'bundle')
}

test('a container whose shim is killed is ended, recorded with the reason, and leaves nothing', async () => {
  await using at = await startCliNode()
  const { node, image } = at
  const tally = await tallyOf(node)
  const shims = new Map<string, { pid: number; shim: number }>()
  for (const id of ['idle', 'busy', 'offline', 'other']) {
    const then = id === 'offline' ? 'while [ ! -e /go ]; do sleep 0.05; done; yes' : 'while true; do sleep 0.05; done'
    const options = tally.options(id, `echo out; trap "" TERM; ${then}`)
    const ran = await submit(node, { type: 'container.run', subject: id, payload: { image, options } })
    assert.equal(ran.status, 200, ran.text)
    const pid = await pidOf(node, id)
    shims.set(id, { pid, shim: await shimOf(pid) })
  }
  const of = (id: string) => shims.get(id) ?? { pid: 0, shim: 0 }

  process.kill(of('idle').shim, 'SIGKILL')
  await checkLost(node, 'idle', of('idle').pid)
  assert.equal((await at.cli('wait', 'idle')).stdout.trim(), '137')
  assert.equal((await at.cli('logs', 'idle')).stdout, 'out\n')

  // In the middle of a stop, which then has nothing left to wait for, and of an exec, which fails and does not hang.
  const stopping = submit(node, { type: 'container.stop', subject: 'busy', payload: { graceMs: 30_000 } })
  const payload = { execId: 'e1', args: ['sleep', '1000'], output: 'discard' }
  const executing = await submit(node, { type: 'task.exec', subject: 'busy', payload })
  assert.equal(executing.status, 200, executing.text)
  await eventually(
    () => events(node, 'task/busy'),
    (life) => life.some(({ type }) => type === 'task.killed'),
  )
  process.kill(of('busy').shim, 'SIGKILL')
  const stopped = await stopping
  assert.equal(stopped.status, 200, stopped.text)
  await checkLost(node, 'busy', of('busy').pid)

  // While it writes as fast as it can: all that the daemon has taken is in the log then.
  const spool = join(node.state, 'tasks/default/offline/stdio/stdout.spool')
  assert.equal((await at.cli('exec', 'offline', 'touch', '/go')).exitCode, 0)
  await eventually(
    async () => statSync(spool).size,
    (bytes) => bytes > 1024 * 1024,
  )
  await node.kill9()
  process.kill(of('offline').shim, 'SIGKILL')
  await gone(of('offline').shim)
  const { size } = statSync(spool)
  await node.restart()
  await checkLost(node, 'offline', of('offline').pid)
  const path = join(node.root, 'containers/default/offline/log')
  let written = 0
  for await (const { data } of readLog(path, { signal: AbortSignal.timeout(60_000) })) written += data.length
  assert.equal(written, size)

  assert.equal((await taskOf(node, 'other')).status, 'running')
  const again = await at.cli('start', 'idle')
  assert.equal(again.exitCode, 0, again.stderr)
  assert.equal((await taskOf(node, 'idle')).status, 'running')
  await checkBooks(node)
})

test('a container that cannot be adopted at once goes on, and is adopted when nothing is in the way any more', async () => {
  await using at = await startCliNode()
  const { node, image } = at
  const options = { args: ['sh', '-c', 'echo out; trap "exit 4" TERM; while true; do sleep 0.05; done'] }
  const ran = await submit(node, { type: 'container.run', subject: 'c1', payload: { image, options } })
  assert.equal(ran.status, 200, ran.text)
  const pid = await pidOf(node, 'c1')
  const log = join(node.root, 'containers/default/c1/log')
  await node.kill9()
  await rename(log, `${log}.away`)
  await mkdir(log)
  await node.restart()
  assert.equal((await taskOf(node, 'c1')).pid, pid)
  process.kill(pid, 0)
  await rmdir(log)
  await rename(`${log}.away`, log)
  await eventually(
    () => at.cli('exec', 'c1', 'true'),
    ({ exitCode }) => exitCode === 0,
  )
  assert.equal((await at.cli('stop', 'c1')).exitCode, 0)
  assert.equal((await at.cli('wait', 'c1')).stdout.trim(), '4')
  assert.equal((await at.cli('logs', 'c1')).stdout, 'out\n')
  await checkBooks(node)
})
