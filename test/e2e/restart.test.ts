import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import { z } from 'zod'
import { type CliNode, startCliNode } from '../support/cli.ts'
import type { TestNode } from '../support/daemon.ts'
import { checkBooks, events, eventually, instant, type Request, rounds, submit, tallyOf } from '../support/faults.ts'

let at: CliNode
before(async () => {
  at = await startCliNode()
})
after(() => at[Symbol.asyncDispose]())

const containerSchema = z.object({
  status: z.string(),
  restarts: z.object({ wanted: z.boolean(), count: z.number(), delayMs: z.number() }).optional(),
  task: z.object({ pid: z.number().optional() }).optional(),
})

async function containerOf(node: TestNode, id: string): Promise<z.output<typeof containerSchema>> {
  const answer = await node.http('GET', `/v1/containers/${id}`)
  assert.equal(answer.status, 200, answer.text)
  return containerSchema.parse(answer.json)
}

async function done(node: TestNode, request: Request): Promise<void> {
  const answer = await submit(node, request)
  assert.equal(answer.status, 200, answer.text)
}

const starts = async (node: TestNode, id: string): Promise<number> =>
  (await events(node, `task/${id}`)).filter(({ type }) => type === 'task.started').length

test('on-failure starts again what failed, so often and with growing delays; a user begins anew', async () => {
  const { node, cli, image } = at
  const ran = await cli('run', '-d', '--name', 'fails', '--restart', 'on-failure:2', image, 'sh', '-c', 'exit 3')
  assert.equal(ran.exitCode, 0, ran.stderr)
  const exits = async () => (await events(node, 'task/fails')).filter(({ type }) => type === 'task.exited').length
  await eventually(exits, (count) => count === 3)
  const over = await containerOf(node, 'fails')
  assert.equal(over.status, 'exited')
  assert.deepEqual(over.restarts, { wanted: true, count: 2, delayMs: 200 })
  const restarting = (await events(node, 'container/fails')).filter(({ type }) => type === 'container.restarting')
  assert.deepEqual(
    restarting.map(({ data }) => data),
    [
      { count: 1, delayMs: 100, exitCode: 3 },
      { count: 2, delayMs: 200, exitCode: 3 },
    ],
  )
  assert.match((await cli('ps', '-a')).stdout, /Exited \(3\) .*restarted 2×/)
  assert.match((await cli('history', 'fails')).stdout, /container\.recover fails {2}by purser:restart/)
  assert.equal((await cli('start', 'fails')).exitCode, 0)
  await eventually(exits, (count) => count === 6)

  const fine = await cli('run', '--name', 'fine', '--restart', 'on-failure', image, 'true')
  assert.equal(fine.exitCode, 0, fine.stderr)
  const both = await cli('run', '--rm', '--restart', 'always', image, 'true')
  assert.equal(both.exitCode, 125)
  assert.match(both.stderr, /\(--rm\) is not started again by a policy \(--restart always\)/)
  assert.equal((await containerOf(node, 'fine')).status, 'exited')
  assert.equal(await starts(node, 'fine'), 1)
  await checkBooks(node)
})

test('always starts again over SIGKILLs of the daemon, one at a time, until somebody stops it', async (t) => {
  const { node, cli, image } = at
  const tally = await tallyOf(node)
  const script = 'mkdir /tally/here || echo two >/tally/twice; echo ran >>/tally/c1; sleep 0.1; rmdir /tally/here'
  const line = ['-v', `${tally.dir}:/tally`, image, 'sh', '-c', script]
  assert.equal((await cli('run', '-d', '--name', 'c1', '--restart', 'always', ...line)).exitCode, 0)
  for (const round of rounds(2)) {
    await node.kill9After(instant(t, `round ${round}: killed`, 700))
    await node.restart()
  }
  const before = await tally.count('c1')
  await eventually(
    () => tally.count('c1'),
    (count) => count > before,
  )
  const stopped = await cli('stop', 'c1')
  assert.equal(stopped.exitCode, 0, stopped.stderr)
  assert.equal((await containerOf(node, 'c1')).status, 'exited')
  assert.equal(await readFile(`${tally.dir}/twice`, 'utf8').catch(() => 'never'), 'never')
  const runs = await tally.count('c1')
  assert.equal(await starts(node, 'c1'), runs)

  const payload = { image, options: { args: ['sleep', '1000'] }, restart: { policy: 'unless-stopped' } }
  for (const id of ['stays', 'killed', 'rests']) await done(node, { type: 'container.run', subject: id, payload })
  await done(node, { type: 'task.kill', subject: 'killed', payload: { signal: 'SIGKILL' } })
  await done(node, { type: 'container.stop', subject: 'rests', payload: { graceMs: 0 } })
  await node.kill9()
  await node.restart()
  await eventually(
    () => tally.count('c1'),
    (count) => count > runs,
  )
  for (const id of ['killed', 'rests']) assert.equal((await containerOf(node, id)).status, 'exited', id)
  const stays = await containerOf(node, 'stays')
  process.kill(stays.task?.pid ?? 0, 'SIGKILL')
  await eventually(
    () => containerOf(node, 'stays'),
    ({ status, restarts }) => status === 'running' && restarts?.count === 1,
  )
  assert.match((await cli('ps')).stdout, /Up, started .*restarted 1×/)
  assert.equal((await cli('update', '--restart', 'no', 'stays', 'c1')).exitCode, 0)
  process.kill((await containerOf(node, 'stays')).task?.pid ?? 0, 'SIGKILL')
  await eventually(
    () => containerOf(node, 'stays'),
    ({ status }) => status === 'exited',
  )
  const restarted = await cli('restart', '-t', '0', 'stays')
  assert.equal(restarted.exitCode, 0, restarted.stderr)
  assert.equal((await containerOf(node, 'stays')).status, 'running')
  await eventually(
    () => containerOf(node, 'c1'),
    ({ status }) => status === 'exited',
  )
  await checkBooks(node)
})
