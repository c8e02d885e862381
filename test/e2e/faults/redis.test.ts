import assert from 'node:assert/strict'
import { appendFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'
import { startCliNode } from '../../support/cli.ts'
import type { TestNode } from '../../support/daemon.ts'
import {
  checkBooks,
  checkLife,
  collected,
  events,
  eventually,
  gone,
  instant,
  pidOf,
  rounds,
  submit,
  submitSurely,
  succeeded,
  tallyOf,
  taskOf,
  taskReleased,
} from '../../support/faults.ts'

const skip = process.env.REDIS_URL ? 'the Redis is not the daemon’s own' : false

async function killRedis(node: TestNode): Promise<void> {
  const pid = Number(await readFile(join(node.root, 'redis/redis.pid'), 'utf8'))
  process.kill(pid, 'SIGKILL')
  await gone(pid)
}

test('when Redis is killed, callers are told at once, containers go on, and what was acknowledged is there again', {
  skip,
}, async (t) => {
  await using at = await startCliNode()
  const { node, image } = at
  const tally = await tallyOf(node)
  const options = tally.options('lives', 'while [ ! -e /tally/end ]; do sleep 0.02; done; exit 2')
  assert.equal(
    (await submit(node, { type: 'container.run', subject: 'lives', payload: { image, options } })).status,
    200,
  )
  const pid = await pidOf(node, 'lives')

  for (const round of rounds(3)) {
    const acknowledged: string[] = []
    const refused: { status: number; text: string; ms: number }[] = []
    const stop = new AbortController()
    const caller = async (lane: number) => {
      for (let index = 0; !stop.signal.aborted; index++) {
        const name = `r${round}l${lane}n${index}`
        const begunAt = performance.now()
        const { status, text } = await submit(node, { type: 'namespace.create', subject: name })
        if (status === 200) acknowledged.push(name)
        else refused.push({ status, text, ms: performance.now() - begunAt })
        if (status !== 200) await delay(5)
      }
    }
    const calling = Promise.all([0, 1, 2, 3].map(caller))
    await delay(instant(t, `round ${round}: redis killed`, 200))
    await killRedis(node)
    await eventually(
      async () => refused.length,
      (count) => count > 0,
    )
    const before = acknowledged.length
    await eventually(
      async () => acknowledged.length,
      (count) => count > before + 20,
    )
    stop.abort()
    await calling
    await node.ready()
    t.diagnostic(`round ${round}: ${acknowledged.length} acknowledged, ${refused.length} refused`)
    for (const { status, text, ms } of refused) {
      assert.equal(status, 503, text)
      assert.match(text, /Redis/)
      assert.ok(ms < 1000, `told after ${ms} ms`)
    }
    const names = new Set(
      (await events(node)).filter(({ type }) => type === 'namespace.created').map(({ subject }) => subject),
    )
    for (const name of acknowledged) assert.ok(names.has(`namespace/${name}`), `${name} was acknowledged`)
    assert.equal((await taskOf(node, 'lives')).pid, pid)
    process.kill(pid, 0)
    await checkBooks(node)
  }
  await at.cli('exec', 'lives', 'touch', '/tally/end')
  assert.equal((await at.cli('wait', 'lives')).stdout.trim(), '2')
  assert.equal(await tally.count('lives'), 1)
})

test('while Redis is away: clear errors, reads from memory, and ends that are recorded when it is back', {
  skip,
}, async () => {
  const dir = await mkdtemp(join(tmpdir(), 'away-'))
  await using _ = { [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }) }
  const script = `#!/bin/sh\n[ "$1" = --version ] || [ ! -e ${dir}/away ] || exit 1\nexec redis-server "$@"\n`
  await writeFile(`${dir}/redis`, script, { mode: 0o755 })
  await using at = await startCliNode({ config: `[redis]\nbinary = ${JSON.stringify(`${dir}/redis`)}` })
  const { node, image } = at
  const tally = await tallyOf(node)
  const options = tally.options('ends', 'while [ ! -e /tally/end ]; do sleep 0.02; done; exit 6')
  const payload = { image, options }
  assert.equal((await submit(node, { type: 'container.run', subject: 'ends', payload })).status, 200)
  const pid = await pidOf(node, 'ends')

  await writeFile(`${dir}/away`, '')
  await killRedis(node)
  await eventually(
    () => node.http('GET', '/readyz'),
    ({ status }) => status === 503,
  )
  assert.equal((await node.http('GET', '/healthz')).status, 200)
  const refused = await submit(node, { type: 'container.run', subject: 'never', payload })
  assert.equal(refused.status, 503, refused.text)
  const problem = z.object({ code: z.string(), detail: z.string(), remedy: z.string() }).parse(refused.json)
  assert.equal(problem.code, 'unavailable')
  assert.match(problem.detail, /Redis/)
  const run = await at.cli('run', image, 'true')
  assert.deepEqual([run.exitCode, run.stdout], [125, ''], 'as docker run has it')
  const stop = await at.cli('namespace', 'create', 'never')
  assert.equal(stop.exitCode, 69, stop.stderr)
  assert.match(stop.stderr, /Redis/)
  assert.match((await at.cli('ps')).stdout, /ends/)

  const before = Date.now()
  await writeFile(`${tally.dir}/end`, '')
  await collected(pid)
  assert.equal((await node.http('GET', '/readyz')).status, 503)
  const after = Date.now() // The shim notes the time just after it has collected the process.
  await rm(`${dir}/away`)
  await node.ready()
  const task = await eventually(
    () => taskOf(node, 'ends'),
    ({ status }) => status === 'stopped',
  )
  const exitedAt = Date.parse(task.exitedAt ?? '')
  assert.ok(exitedAt >= before && exitedAt <= after, String(task.exitedAt))
  await checkLife(node, 'ends', 6)
  assert.equal((await at.cli('run', '--rm', image, 'true')).exitCode, 0)
  await checkBooks(node)
})

test('Redis killed at random instants while containers are run runs each of them once', { skip }, async (t) => {
  await using at = await startCliNode()
  const { node, image } = at
  const tally = await tallyOf(node)
  for (const round of rounds(3)) {
    const wanted = Array.from({ length: 4 }, (_, index) => ({ id: `k${round}x${index}`, exitCode: 30 + index }))
    const patience = AbortSignal.timeout(60_000)
    const asked = wanted.map(({ id, exitCode }) =>
      submitSurely(
        node,
        { type: 'container.run', subject: id, payload: { image, options: tally.options(id, `exit ${exitCode}`) } },
        patience,
      ),
    )
    await delay(instant(t, `round ${round}: redis killed`, 400))
    await killRedis(node)
    for (const command of await Promise.all(asked)) await succeeded(node, command)
    await node.ready()
    for (const { id, exitCode } of wanted) {
      await taskReleased(node, id)
      await checkLife(node, id, exitCode)
      assert.equal(await tally.count(id), 1, `${id} ran`)
    }
    await checkBooks(node)
  }
})

test('Redis and daemon killed, a write cut in half: everything before it is there, and the node goes on', {
  skip,
}, async () => {
  await using at = await startCliNode()
  const { node, image } = at
  const tally = await tallyOf(node)
  const options = tally.options('lives', 'while true; do sleep 0.05; done')
  assert.equal(
    (await submit(node, { type: 'container.run', subject: 'lives', payload: { image, options } })).status,
    200,
  )
  assert.equal((await node.cli('namespace', 'create', 'kept')).exitCode, 0)
  const before = await events(node)
  await node.kill9()
  await killRedis(node)
  const dir = join(node.root, 'redis/appendonlydir')
  const incremental =
    (await readdir(dir))
      .filter((name) => name.endsWith('.incr.aof'))
      .sort()
      .at(-1) ?? ''
  await appendFile(join(dir, incremental), '*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$3\r\nhal')
  await node.restart()
  assert.deepEqual((await events(node)).slice(0, before.length), before)
  assert.equal((await taskOf(node, 'lives')).status, 'running')
  assert.equal((await node.cli('namespace', 'create', 'more')).exitCode, 0)
  assert.equal(await tally.count('lives'), 1)
  await checkBooks(node)
})
