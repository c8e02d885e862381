import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, open, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { z } from 'zod'
import { type CliNode, startCliNode } from '../support/cli.ts'
import type { TestNode } from '../support/daemon.ts'
import { checkBooks, events, eventually, gone, instant, pidOf, submit, taskOf } from '../support/faults.ts'

const run = promisify(execFile)

const DEADLINES = '[stop]\nkill = "300ms"\nkillCgroup = "300ms"\nkillShim = "2s"\ncleanUp = "2s"'
const DEAF = ['sh', '-c', 'trap "" TERM; while true; do sleep 0.05; done']

let at: CliNode
before(async () => {
  at = await startCliNode({ config: DEADLINES })
})
after(() => at[Symbol.asyncDispose]())

const phasesOf = async (node: TestNode, id: string): Promise<unknown[]> =>
  (await events(node, `task/${id}`)).filter(({ type }) => type === 'task.stopping').map(({ data }) => data.phase)

/** The process that supervises a container: the parent of its first process. */
async function shimOf(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/^PPid:\s+(\d+)/m.exec(status)?.[1])
}

test('a stop asks, waits for as long as its container has asked for, and kills; each phase is in the log', async () => {
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
  const { node } = at
  const ran = await submit(node, {
    type: 'container.run',
    subject: 'hard',
    payload: { image: at.image, options: { args: DEAF } },
  })
  assert.equal(ran.status, 200, ran.text)
  const pid = await pidOf(node, 'hard')
  const shim = await shimOf(pid)
  process.kill(shim, 'SIGSTOP')
  const request = { type: 'container.stop', subject: 'hard', payload: { graceMs: 100 } }
  const accepted = await submit(node, request, 'respond-async')
  assert.equal(accepted.status, 202, accepted.text)
  await node.kill9After(instant(t, 'killed', 2500))
  await node.restart()
  const task = await eventually(
    () => taskOf(node, 'hard'),
    ({ status }) => status === 'stopped',
  )
  await gone(pid)
  await gone(shim)
  assert.equal(task.exitCode, 137)
  assert.match(task.reason ?? '', /^lost: /)
  const phases = await phasesOf(node, 'hard')
  assert.equal(new Set(phases).size, phases.length, `each phase once: ${phases}`)
  await checkBooks(node)
})

/** A file system that can be frozen: who writes to it then hangs in the kernel, and dies only when it is thawed. */
async function freezable(dir: string) {
  const image = `${dir}/disk.img`
  const path = `${dir}/disk`
  const file = await open(image, 'w')
  await file.truncate(16 << 20)
  await file.close()
  await run('mkfs.ext4', ['-q', image])
  await mkdir(path)
  const mounted = await run('mount', ['-o', 'loop', image, path]).catch(() => undefined)
  if (mounted === undefined) return undefined
  const thaw = () => run('fsfreeze', ['-u', path]).catch(() => {}) // It is thawed already.
  return {
    path,
    freeze: () => run('fsfreeze', ['-f', path]),
    thaw,
    async [Symbol.asyncDispose]() {
      await thaw()
      await run('umount', [path])
    },
  }
}

test('a task that survives all of a stop is stuck, with what holds it, until it can end', async (t) => {
  const { node } = at
  await using disk = await freezable(node.dir)
  if (disk === undefined) return t.skip('no file system can be mounted from a file here')
  await disk.freeze()
  const writes = ['-v', `${disk.path}:/disk`, at.image, 'sh', '-c', 'echo x >/disk/file']
  const ran = await at.cli('run', '-d', '--name', 'c1', ...writes)
  assert.equal(ran.exitCode, 0, ran.stderr)
  const pid = await pidOf(node, 'c1')
  const stopped = await at.cli('stop', '-t', '0', 'c1')
  assert.equal(stopped.exitCode, 75, stopped.stderr)
  assert.match(
    stopped.stderr,
    new RegExp(`c1 did not end by any phase of its stop: process ${pid} \\(sh\\) is in state D`),
  )
  assert.deepEqual(await phasesOf(node, 'c1'), ['ask', 'kill', 'kill-cgroup', 'kill-shim', 'clean-up'])
  const { status, stuck } = z
    .object({
      status: z.string(),
      stuck: z.object({ processes: z.array(z.object({ pid: z.number(), stack: z.array(z.string()) })) }),
    })
    .parse((await node.http('GET', '/v1/tasks/c1')).json)
  assert.equal(status, 'running')
  assert.ok(stuck.processes.some((each) => each.pid === pid && each.stack.length > 0))
  assert.match((await at.cli('ps')).stdout, /Up, started .*, stuck/)
  assert.match((await at.cli('why', 'c1')).stdout, /process \d+ \(sh\) is in state D/)
  assert.match((await at.cli('history', 'c1')).stdout, /task\.stuck/)
  assert.match((await at.node.http('GET', '/metrics')).text, /^purser_tasks_stuck 1$/m)
  await node.kill9()
  await node.restart()
  assert.equal((await taskOf(node, 'c1')).status, 'running')
  await disk.thaw()
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
