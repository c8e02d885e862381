import assert from 'node:assert/strict'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { z } from 'zod'
import { removeCgroups } from '../../../src/host/cgroups.ts'
import { TaskPaths } from '../../../src/workers/task/paths.ts'
import { startCliNode } from '../../support/cli.ts'
import type { TestNode } from '../../support/daemon.ts'
import { checkBooks, collected, eventually, gone, pidOf, submit, taskOf } from '../../support/faults.ts'
import { processWithPid, shimOf } from '../../support/processes.ts'

async function runAll(node: TestNode, image: string, ids: readonly string[], script: string): Promise<void> {
  const options = { args: ['sh', '-c', script] }
  await Promise.all(
    ids.map(async (id) => {
      const ran = await submit(node, { type: 'container.run', subject: id, payload: { image, options } })
      assert.equal(ran.status, 200, ran.text)
    }),
  )
}

const verdicts = async (node: TestNode): Promise<Map<string, string>> => {
  const { json } = await node.http('GET', '/v1/doctor/tasks')
  const { items } = z.object({ items: z.array(z.object({ id: z.string(), verdict: z.string() })) }).parse(json)
  return new Map(items.map(({ id, verdict }) => [id, verdict]))
}

test('of twenty containers two have shims that hang: the others are adopted, one is too when it answers, one can be stopped', async () => {
  const stop = '[stop]\nkill = "300ms"\nkillCgroup = "300ms"\nkillShim = "1s"\ncleanUp = "5s"'
  await using at = await startCliNode({ config: stop })
  const { node, image } = at
  const ids = Array.from({ length: 20 }, (_, index) => `c${index}`)
  await runAll(node, image, ids, 'trap "exit 6" TERM; while true; do sleep 0.05; done')
  const hung = await shimOf(await pidOf(node, 'c7'))
  const hungToo = await shimOf(await pidOf(node, 'c9'))
  await node.kill9()
  for (const shim of [hung, hungToo]) process.kill(shim, 'SIGSTOP')
  try {
    node.start()
    await node.ready()
    const [, ready = ''] = await eventually(
      async () => (await node.logs()).split('\n').filter((line) => line.includes('"msg":"ready"')),
      (lines) => lines.length === 2, // The daemon answers before it has written so.
    )
    const { adopted, postponed, lost } = JSON.parse(ready)
    assert.deepEqual({ adopted, postponed, lost }, { adopted: 18, postponed: 2, lost: 0 })
    assert.equal((await at.cli('exec', 'c8', 'true')).exitCode, 0)
    const found = await verdicts(node)
    assert.deepEqual(
      ids.filter((id) => found.get(id) !== 'healthy').map((id) => [id, found.get(id)]),
      [
        ['c7', 'hung'],
        ['c9', 'hung'],
      ],
    )
    assert.match((await at.cli('task', 'doctor')).stdout, new RegExp(`^c7 .* hung .* kill -CONT ${hung}$`, 'm'))
    assert.equal((await taskOf(node, 'c7')).status, 'running')
    const stopped = await at.cli('stop', '-t', '0', 'c9')
    assert.equal(stopped.exitCode, 0, stopped.stderr)
    assert.match((await taskOf(node, 'c9')).reason ?? '', /^lost: /)
    await gone(hungToo)
  } finally {
    process.kill(hung, 'SIGCONT')
  }
  await eventually(
    () => at.cli('exec', 'c7', 'true'),
    ({ exitCode }) => exitCode === 0,
  )
  assert.equal((await at.cli('stop', 'c7')).exitCode, 0)
  assert.deepEqual([(await taskOf(node, 'c7')).exitCode, (await taskOf(node, 'c7')).reason], [6, undefined])
  assert.equal((await at.cli('task', 'doctor')).exitCode, 0)
  await checkBooks(node)
})

test('after a reboot tasks are recorded as ended by it, and a pid that belongs to another process now is left alone', async (t) => {
  await using at = await startCliNode()
  const { node, image } = at
  await runAll(node, image, ['c1', 'c2'], 'while true; do sleep 1; done')
  const pid = await pidOf(node, 'c1')
  const shims = await Promise.all(['c1', 'c2'].map(async (id) => shimOf(await pidOf(node, id))))
  const pids = [pid, await pidOf(node, 'c2')]
  await node.kill9()
  for (const each of [...shims, ...pids]) process.kill(each, 'SIGKILL')
  await Promise.all([...shims, ...pids].map(collected))
  // What a boot leaves of a tmpfs, and of the kernel.
  await rm(join(node.state, 'tasks'), { recursive: true })
  await rm(join(node.state, 'runc'), { recursive: true })
  const paths = new TaskPaths(node.root, node.state)
  await removeCgroups(['c1', 'c2'].map((id) => paths.cgroup('default', id)))
  await writeFile(join(node.root, 'boot'), '00000000-0000-0000-0000-000000000000\n')
  await using heir = await processWithPid(pid)
  if (heir.pid !== pid) t.diagnostic(`pid ${pid} could not be given to another process`)
  node.start()
  await node.ready()
  for (const id of ['c1', 'c2']) {
    const task = await eventually(
      () => taskOf(node, id),
      ({ status }) => status === 'stopped',
    )
    assert.deepEqual([task.exitCode, task.reason], [137, 'lost: the machine was rebooted'])
  }
  assert.match((await at.cli('why', 'c1')).stdout, /the machine was rebooted/)
  process.kill(heir.pid, 0)
  assert.match(await readFile(`/proc/${heir.pid}/cmdline`, 'utf8'), /sleep/)
  const again = await at.cli('start', 'c1')
  assert.equal(again.exitCode, 0, again.stderr)
  assert.equal((await taskOf(node, 'c1')).status, 'running')
  assert.deepEqual(await readdir(join(node.state, 'tasks/default')), ['c1'])
  await checkBooks(node)
})
