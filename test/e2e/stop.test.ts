import assert from 'node:assert/strict'
import { existsSync, writeFileSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { z } from 'zod'
import { CGROUP_ROOT } from '../../src/host/cgroups.ts'
import { startCliNode } from '../support/cli.ts'
import type { TestNode } from '../support/daemon.ts'
import { checkBooks, events, eventually, gone, instant, pidOf, submit, taskOf } from '../support/faults.ts'

const DEADLINES = '[stop]\nkill = "300ms"\nkillCgroup = "300ms"\nkillShim = "2s"\ncleanUp = "2s"'
const DEAF = ['sh', '-c', 'trap "" TERM; while true; do sleep 0.05; done']

const phasesOf = async (node: TestNode, id: string): Promise<unknown[]> =>
  (await events(node, `task/${id}`)).filter(({ type }) => type === 'task.stopping').map(({ data }) => data.phase)

/** The process that supervises a container: the parent of its first process. */
async function shimOf(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/^PPid:\s+(\d+)/m.exec(status)?.[1])
}

test('a stop asks, waits for as long as its container has asked for, and kills; each phase is in the log', async () => {
  await using at = await startCliNode()
  const ran = await at.cli('run', '-d', '--name', 'deaf', '--stop-timeout', '1', at.image, ...DEAF)
  assert.equal(ran.exitCode, 0, ran.stderr)
  const begun = Date.now()
  const stopped = await at.cli('stop', 'deaf')
  assert.equal(stopped.exitCode, 0, stopped.stderr)
  const tookMs = Date.now() - begun
  assert.ok(tookMs >= 1000 && tookMs < 9000, `${tookMs} ms`)
  assert.deepEqual(await phasesOf(at.node, 'deaf'), ['ask', 'kill'])
  assert.equal((await taskOf(at.node, 'deaf')).exitCode, 137)
  const polite = ['sh', '-c', 'trap "exit 3" USR1; while true; do sleep 0.05; done']
  await at.cli('run', '-d', '--name', 'polite', '--stop-signal', 'USR1', at.image, ...polite)
  assert.equal((await at.cli('stop', 'polite')).exitCode, 0)
  assert.deepEqual(await phasesOf(at.node, 'polite'), ['ask'])
  assert.equal((await taskOf(at.node, 'polite')).exitCode, 3)
})

test('a stop that neither signals nor the shim carry out goes on to harder means, also over a SIGKILL of the daemon', async (t) => {
  await using at = await startCliNode({ config: DEADLINES })
  const { node } = at
  const ran = await submit(node, {
    type: 'container.run',
    subject: 'c1',
    payload: { image: at.image, options: { args: DEAF } },
  })
  assert.equal(ran.status, 200, ran.text)
  const pid = await pidOf(node, 'c1')
  const shim = await shimOf(pid)
  process.kill(shim, 'SIGSTOP')
  const request = { type: 'container.stop', subject: 'c1', payload: { graceMs: 100 } }
  const accepted = await submit(node, request, 'respond-async')
  assert.equal(accepted.status, 202, accepted.text)
  await node.kill9After(instant(t, 'killed', 2500))
  await node.restart()
  const task = await eventually(
    () => taskOf(node, 'c1'),
    ({ status }) => status === 'stopped',
  )
  await gone(pid)
  await gone(shim)
  assert.equal(task.exitCode, 137)
  assert.match(task.reason ?? '', /^lost: /)
  const phases = await phasesOf(node, 'c1')
  assert.equal(new Set(phases).size, phases.length, `each phase once: ${phases}`)
  await checkBooks(node)
})

/** The cgroup above those of a node's containers, in version 1's freezer: what is frozen there does not die. */
async function freezerAbove(pid: number): Promise<string | undefined> {
  const line = /^\d+:freezer:(.+)$/m.exec(await readFile(`/proc/${pid}/cgroup`, 'utf8'))?.[1]
  const file = line === undefined ? '' : join(CGROUP_ROOT, 'freezer', line, '../freezer.state')
  return existsSync(file) ? file : undefined
}

test('a task that survives all of a stop is stuck, with what holds it, until it can end', async (t) => {
  await using at = await startCliNode({ config: DEADLINES })
  const { node } = at
  const ran = await at.cli('run', '-d', '--name', 'c1', at.image, ...DEAF)
  assert.equal(ran.exitCode, 0, ran.stderr)
  const pid = await pidOf(node, 'c1')
  const freezer = await freezerAbove(pid)
  if (freezer === undefined) return t.skip('in cgroup v2 a frozen process dies when it is killed')
  writeFileSync(freezer, 'FROZEN')
  try {
    const stopped = await at.cli('stop', '-t', '0', 'c1')
    assert.equal(stopped.exitCode, 75, stopped.stderr)
    assert.match(
      stopped.stderr,
      new RegExp(`c1 did not end by any phase of its stop: process ${pid} \\(sh\\) is in state D`),
    )
    assert.deepEqual(await phasesOf(node, 'c1'), ['ask', 'kill', 'kill-cgroup', 'kill-shim', 'clean-up'])
    const stuck = z
      .object({ status: z.string(), stuck: z.object({ processes: z.array(z.looseObject({ pid: z.number() })) }) })
      .parse((await node.http('GET', '/v1/tasks/c1')).json)
    assert.equal(stuck.status, 'running')
    assert.ok(stuck.stuck.processes.some((each) => each.pid === pid))
    assert.match((await at.cli('ps')).stdout, /Up, started .*, stuck/)
    assert.match((await at.cli('why', 'c1')).stdout, /process \d+ \(sh\) is in state D/)
    assert.match((await at.cli('history', 'c1')).stdout, /task\.stuck/)
    await node.kill9()
    await node.restart()
    assert.equal((await taskOf(node, 'c1')).status, 'running')
  } finally {
    writeFileSync(freezer, 'THAWED')
  }
  await gone(pid)
  const task = await eventually(
    () => taskOf(node, 'c1'),
    ({ status }) => status === 'stopped',
  )
  assert.match(task.reason ?? '', /^lost: /)
  assert.equal((await at.cli('rm', 'c1')).exitCode, 0)
  assert.ok(!(await readdir(join(node.state, 'tasks/default'))).includes('c1'))
  await checkBooks(node)
})
