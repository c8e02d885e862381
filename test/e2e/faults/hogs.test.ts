import assert from 'node:assert/strict'
import { closeSync, constants, openSync } from 'node:fs'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'
import { mapLimited } from '../../../src/model/concurrency.ts'
import { ensureFifo } from '../../../src/shim/fifo.ts'
import { type CliNode, startCliNode } from '../../support/cli.ts'
import { checkBooks, collected, events, eventually, gone, pidOf, rounds, submit, taskOf } from '../../support/faults.ts'

let at: CliNode
before(async () => {
  at = await startCliNode()
})
after(async () => {
  await checkBooks(at.node)
  await at[Symbol.asyncDispose]()
})

test('a fork bomb is held by its limit, disturbs nobody, and ends with its container', async () => {
  // A shell that may not fork ends: the first process is none that forks.
  const bomb = '(while true; do sleep 1000 & done) & exec sleep 1000'
  const ran = await at.cli('run', '-d', '--name', 'bomb', '--pids-limit', '32', at.image, 'sh', '-c', bomb)
  assert.equal(ran.exitCode, 0, ran.stderr)
  const pid = await pidOf(at.node, 'bomb')
  const processes = async () => {
    const { json } = await at.node.http('GET', '/v1/doctor/tasks')
    const tasks = z.object({ items: z.array(z.object({ cgroup: z.object({ processes: z.number() }) })) }).parse(json)
    return tasks.items[0]?.cgroup.processes ?? 0
  }
  await eventually(processes, (count) => count >= 30)
  assert.ok((await processes()) <= 32)
  const other = await at.cli('run', '--rm', at.image, 'echo', 'undisturbed')
  assert.deepEqual([other.exitCode, other.stdout], [0, 'undisturbed\n'], other.stderr)
  const removed = await at.cli('rm', '-f', 'bomb')
  assert.equal(removed.exitCode, 0, removed.stderr)
  await gone(pid)
  assert.equal(await processes(), 0)
})

test('a container that takes more memory than it may is ended, and recorded so', async () => {
  const hog = 'x=a; while true; do x=$x$x; done'
  const ran = await at.cli('run', '-d', '--name', 'hog', '-m', '16m', at.image, 'sh', '-c', hog)
  assert.equal(ran.exitCode, 0, ran.stderr)
  const task = await eventually(
    () => taskOf(at.node, 'hog'),
    ({ status }) => status === 'stopped',
  )
  assert.deepEqual([task.exitCode, task.reason], [137, 'oom'])
  const life = await events(at.node, 'task/hog')
  assert.ok(life.some(({ type }) => type === 'task.oom'))
  assert.equal(life.find(({ type }) => type === 'task.exited')?.data.oomKills, 1)
  assert.match((await at.cli('why', 'hog')).stdout, /want of memory/)
})

test('a container that somebody kills has not run out of memory, though a process of it had before', async () => {
  const script = '(x=a; while true; do x=$x$x; done); echo outlived; exec sleep 1000'
  const ran = await at.cli('run', '-d', '--name', 'killed', '-m', '16m', at.image, 'sh', '-c', script)
  assert.equal(ran.exitCode, 0, ran.stderr)
  await eventually(
    () => at.cli('logs', 'killed'),
    ({ stdout }) => stdout.includes('outlived'),
  )
  assert.equal((await at.cli('kill', 'killed')).exitCode, 0)
  const { exitCode, reason } = await eventually(
    () => taskOf(at.node, 'killed'),
    ({ status }) => status === 'stopped',
  )
  assert.deepEqual([exitCode, reason], [137, undefined])
  const exited = (await events(at.node, 'task/killed')).find(({ type }) => type === 'task.exited')
  assert.equal(exited?.data.oomKills, 1)
})

test('a container that ran out of memory while no daemon was there is recorded so', async () => {
  const dir = join(at.node.dir, 'late')
  await mkdir(dir)
  const hog = 'while [ ! -e /late/go ]; do sleep 0.05; done; x=a; while true; do x=$x$x; done'
  const limited = ['-m', '16m', '-v', `${dir}:/late`]
  const ran = await at.cli('run', '-d', '--name', 'late', ...limited, at.image, 'sh', '-c', hog)
  assert.equal(ran.exitCode, 0, ran.stderr)
  const pid = await pidOf(at.node, 'late')
  await at.node.kill9()
  await writeFile(join(dir, 'go'), '')
  await collected(pid)
  await at.node.restart()
  const task = await eventually(
    () => taskOf(at.node, 'late'),
    ({ status }) => status === 'stopped',
  )
  assert.deepEqual([task.exitCode, task.reason], [137, 'oom'])
})

test('of many containers that end in the same second every exit is recorded, with its own code', async (t) => {
  const count = 50 * rounds(1).length
  const names = Array.from({ length: count }, (_, index) => `end${index}`)
  const dir = join(at.node.dir, 'go')
  await mkdir(dir)
  const fifo = join(dir, 'fifo')
  ensureFifo(fifo)
  const options = (code: number) => ({
    args: ['sh', '-c', `read line </go/fifo; exit ${code}`],
    mounts: [{ type: 'bind', source: dir, target: '/go' }],
  })
  const starting = names.map((subject, index) => ({
    subject,
    payload: { image: at.image, options: options(index % 200) },
  }))
  await mapLimited(starting, 32, AbortSignal.timeout(600_000), async (each) => {
    const ran = await submit(at.node, { type: 'container.run', ...each }, 'wait=150')
    assert.equal(ran.status, 200, ran.text)
  })
  // Whoever waits to open the FIFO goes on to wait for a line, and for its end when the last writer leaves.
  const writer = openSync(fifo, constants.O_RDWR)
  await delay(1000)
  const begun = Date.now()
  closeSync(writer)
  const last = await eventually(
    () => events(at.node, 'task/end*'),
    (all) => all.filter(({ type }) => type === 'task.released').length === count,
    120_000,
  )
  const ends = last.flatMap(({ type, data }) => (type === 'task.exited' ? [Date.parse(String(data.exitedAt))] : []))
  const spreadMs = Math.max(...ends) - Math.min(...ends)
  t.diagnostic(`${count} ended within ${spreadMs} ms, all given back after ${Date.now() - begun} ms`)
  for (const [index, id] of names.entries()) {
    const exits = last.filter(({ type, subject }) => type === 'task.exited' && subject === `task/${id}`)
    assert.deepEqual(
      exits.map(({ data }) => [data.exitCode, data.reason]),
      [[index % 200, undefined]],
      id,
    )
  }
  const left = (await readdir(join(at.node.state, 'tasks/default'))).filter((id) => id.startsWith('end'))
  assert.deepEqual(left, [])
})
