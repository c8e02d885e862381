import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'
import { type CliNode, startCliNode } from '../support/cli.ts'
import { checkBooks, ended, events, eventually, submit, taskOf } from '../support/faults.ts'

const poolSchema = z.object({
  status: z.string(),
  ready: z.number(),
  warming: z.number(),
  claimed: z.number(),
  fault: z.object({ error: z.string() }).optional(),
  members: z.array(
    z.object({ container: z.string(), status: z.string(), uses: z.number(), start: z.string().optional() }),
  ),
})
const claimedSchema = z.object({ id: z.string(), start: z.string(), command: z.string() })

let at: CliNode
before(async () => {
  at = await startCliNode()
})
after(() => at[Symbol.asyncDispose]())

const run = async (...args: string[]) => {
  const done = await at.cli(...args)
  assert.equal(done.exitCode, 0, `${args.join(' ')}: ${done.stderr}`)
  return done.stdout.trim()
}
const poolOf = async (name: string) => {
  const answer = await at.node.http('GET', `/v1/pools/${name}`)
  assert.equal(answer.status, 200, answer.text)
  return poolSchema.parse(answer.json)
}
const ready = (name: string, count: number) =>
  eventually(
    () => poolOf(name),
    (pool) => pool.ready === count && pool.warming === 0,
    60_000,
  )
const claim = async (name: string, body: object = {}) => {
  const answer = await at.node.http('POST', `/v1/pools/${name}/claim`, body)
  assert.equal(answer.status, 200, answer.text)
  return claimedSchema.parse(answer.json)
}
const logsOf = (id: string, text: string) =>
  eventually(
    async () => (await at.cli('logs', id)).stdout,
    (stdout) => stdout.includes(text),
  )
const containers = async () => (await run('ps', '-a', '-q')).split('\n').filter(Boolean)

const SERVE = 'echo up; read id < /run/purser/claim; . /run/purser/env; echo "$id $WHO"; cat; sleep 1000'

describe('pools of warm tasks', { timeout: 120_000 }, () => {
  test('a claim thaws a task that waits, tells it what the call brings, and has it replaced', async () => {
    await run(
      'pool',
      'create',
      'serve',
      '--image',
      at.image,
      '--size',
      '2',
      '--ready',
      'wait',
      '-i',
      '--',
      'sh',
      '-c',
      SERVE,
    )
    const { members } = await ready('serve', 2)
    for (const { container } of members) assert.equal((await taskOf(at.node, container)).status, 'paused')
    assert.equal(await run('ps', '-q'), '', 'what is ready runs not yet')
    assert.match(await run('ps', '-a'), /Ready in pool serve\n.*Ready in pool serve/)
    const { id, start, command } = await claim('serve', {
      env: { WHO: "it's me; echo no" },
      labels: { call: 'first' },
      payload: 'a payload\n',
    })
    assert.equal(start, 'warm')
    assert.ok(members.some(({ container }) => container === id))
    await logsOf(id, `${command} it's me; echo no\na payload\n`)
    assert.equal((await taskOf(at.node, id)).status, 'running')
    assert.equal(await run('ps', '-q', '--filter', 'label=call=first'), id)
    await ready('serve', 2)
    await run('pool', 'release', id)
    assert.ok(!(await containers()).includes(id), 'a fresh task serves one claim')
    await run('pool', 'rm', 'serve')
    assert.deepEqual(await containers(), [])
  })

  test('of many claims at once none gets the task of another; those beyond the pool start cold', async () => {
    await run('pool', 'create', 'many', '--image', at.image, '--size', '3', '--tasks-max', '6', '--', 'sleep', '1000')
    await ready('many', 3)
    const claims = await Promise.all(Array.from({ length: 5 }, () => claim('many')))
    assert.equal(new Set(claims.map(({ id }) => id)).size, 5)
    assert.ok(claims.filter(({ start }) => start === 'warm').length >= 3)
    const refused = await at.cli('pool', 'rm', 'many')
    assert.equal(refused.exitCode, 65)
    assert.match(refused.stderr, /has 5 claimed tasks/)
    await run('pool', 'rm', '-f', 'many')
    assert.deepEqual(await containers(), [])
  })

  test('a repeated key answers with the task of then', async () => {
    await run('pool', 'create', 'once', '--image', at.image, '--size', '2', '--', 'sleep', '1000')
    await ready('once', 2)
    const first = await run('pool', 'claim', 'once', '--idempotency-key', 'k')
    assert.equal(await run('pool', 'claim', 'once', '--idempotency-key', 'k'), first)
    await run('pool', 'rm', '-f', 'once')
  })

  test('an empty pool refuses, or makes a claim wait, where the caller says so', async () => {
    await run('pool', 'create', 'none', '--image', at.image, '--size', '0', '--', 'sleep', '1000')
    const refused = await at.cli('pool', 'claim', 'none', '--no-cold')
    assert.equal(refused.exitCode, 73)
    assert.match(refused.stderr, /pool none has no ready task; purser pool scale none/)
    const late = await at.cli('pool', 'claim', 'none', '--wait', '200ms')
    assert.equal(late.exitCode, 75, late.stderr)
    const waiting = claim('none', { whenEmpty: 'wait' })
    await run('pool', 'scale', 'none', '1')
    assert.equal((await waiting).start, 'warm')
    await run('pool', 'rm', '-f', 'none')
  })

  for (const [probe, script] of [
    ['file:/tmp/ready', 'sleep 0.3; touch /tmp/ready; sleep 1000'],
    ['log:now it is up', 'sleep 0.3; echo now it is up; sleep 1000'],
    ['tcp:8080', 'sleep 0.3; /bin/busybox httpd -f -p 8080'],
    ['http:8080/', 'mkdir -p /tmp/w; echo hi >/tmp/w/index.html; sleep 0.3; /bin/busybox httpd -f -p 8080 -h /tmp/w'],
    ['exec:test -e /tmp/ready', 'sleep 0.3; touch /tmp/ready; sleep 1000'],
  ] as const) {
    test(`a task is ready when its probe says so: ${probe}`, async () => {
      const begunAt = Date.now()
      await run(
        'pool',
        'create',
        'probed',
        '--image',
        at.image,
        '--size',
        '1',
        '--ready',
        probe,
        '--',
        'sh',
        '-c',
        script,
      )
      await ready('probed', 1)
      assert.ok(Date.now() - begunAt >= 300)
      assert.equal((await claim('probed')).start, 'warm')
      await run('pool', 'rm', '-f', 'probed')
    })
  }

  test('a task that does not become ready is removed, with the reason, and tried again later', async () => {
    const args = ['--image', at.image, '--size', '1', '--ready', 'file:/never', '--ready-timeout', '300ms']
    await run('pool', 'create', 'never', ...args, '--', 'sleep', '1000')
    const failed = await eventually(
      () => events(at.node),
      (all) =>
        all.some(
          ({ type, data }) => type === 'command.failed' && JSON.stringify(data).includes('was not ready (probe: file)'),
        ),
    )
    assert.ok(failed.length > 0)
    assert.equal((await poolOf('never')).ready, 0)
    await eventually(
      async () => (await at.node.http('GET', '/metrics')).text,
      (metrics) => metrics.includes('purser_pools{standing="failing"} 1'),
    )
    const { fault } = await eventually(
      () => poolOf('never'),
      (found) => found.fault !== undefined,
    )
    assert.match(fault?.error ?? '', /was not ready \(probe: file\)/)
    assert.match(await run('pool', 'ls'), /^never .* failing /m)
    assert.match(await run('why', 'never'), /tasks of pool\/never do not become ready: .*was not ready/)
    await run('pool', 'rm', 'never')
    assert.deepEqual(await containers(), [])
  })

  test('a task that is handed back is reset and claimed again, as often as the pool allows', async () => {
    const args = [
      '--image',
      at.image,
      '--size',
      '1',
      '--tasks-max',
      '1',
      '--reuse',
      '--uses-max',
      '2',
      '--reset',
      'rm -f /tmp/mine',
    ]
    await run('pool', 'create', 'again', ...args, '--', 'sleep', '1000')
    await ready('again', 1)
    const { id } = await claim('again')
    await run('exec', id, 'touch', '/tmp/mine')
    await run('pool', 'release', id)
    assert.deepEqual(
      (await ready('again', 1)).members.map(({ container, uses }) => [container, uses]),
      [[id, 1]],
    )
    assert.equal((await claim('again')).id, id)
    assert.notEqual((await at.cli('exec', id, 'ls', '/tmp/mine')).exitCode, 0)
    await run('pool', 'release', id)
    const { members } = await ready('again', 1)
    assert.notEqual(members[0]?.container, id)
    await run('pool', 'rm', 'again')
  })

  test('a drained pool has no task, refuses claims, and is filled again by scaling', async () => {
    await run('pool', 'create', 'dry', '--image', at.image, '--size', '2', '--', 'sleep', '1000')
    await ready('dry', 2)
    await run('pool', 'drain', 'dry')
    await eventually(containers, (ids) => ids.length === 0)
    assert.match((await at.cli('pool', 'claim', 'dry')).stderr, /pool dry is draining; purser pool scale dry/)
    await run('pool', 'scale', 'dry', '1')
    await ready('dry', 1)
    await run('pool', 'rm', 'dry')
  })

  test('a task that ends while it is ready is replaced; a frozen one can be removed', async () => {
    await run('pool', 'create', 'ends', '--image', at.image, '--size', '2', '--', 'sleep', '1000')
    const [first] = (await ready('ends', 2)).members
    await run('rm', '-f', first?.container ?? '')
    const { members } = await eventually(
      () => poolOf('ends'),
      ({ ready, warming, members }) =>
        ready === 2 && warming === 0 && !members.some(({ container }) => container === first?.container),
    )
    assert.equal(members.length, 2)
    await run('pool', 'rm', 'ends')
  })

  test('a daemon killed with a pool and claims under way hands out no task twice, and fills the pool again', async (t) => {
    await run('pool', 'create', 'kept', '--image', at.image, '--size', '3', '--', 'sleep', '1000')
    await ready('kept', 3)
    for (let round = 0; round < 3; round++) {
      const requests = Array.from({ length: 4 }, (_, n) =>
        at.node
          .http(
            'POST',
            '/v1/commands',
            { type: 'pool.claim', subject: 'kept' },
            { 'idempotency-key': `r${round}-${n}`, prefer: 'respond-async' },
          )
          .catch(() => undefined),
      )
      const killedMs = Math.floor(Math.random() * 60)
      t.diagnostic(`round ${round}: killed after ${killedMs} ms`)
      await delay(killedMs)
      await at.node.kill9()
      await Promise.all(requests)
      at.node.start()
      await at.node.ready()
      const ids: string[] = []
      for (let n = 0; n < 4; n++) {
        const asked = await at.node.http(
          'POST',
          '/v1/commands',
          { type: 'pool.claim', subject: 'kept' },
          { 'idempotency-key': `r${round}-${n}`, prefer: 'respond-async' },
        )
        const { status, result } = await ended(at.node, z.object({ id: z.string() }).parse(asked.json).id)
        assert.equal(status, 'succeeded')
        ids.push(String(result?.id))
      }
      assert.equal(new Set(ids).size, ids.length, ids.join(' '))
      for (const id of ids) assert.equal((await taskOf(at.node, id)).status, 'running')
      await Promise.all(ids.map((id) => submit(at.node, { type: 'pool.release', subject: 'kept', payload: { id } })))
      await ready('kept', 3)
    }
    await run('pool', 'rm', '-f', 'kept')
    assert.deepEqual(await containers(), [])
    await checkBooks(at.node)
  })

  test('bad input is refused with what to write instead', async () => {
    for (const [args, message] of [
      [['pool', 'create', 'x', '--size', '1'], /needs an image; give --image REF/],
      [['pool', 'create', 'x', '--image', at.image, '--size', '-1'], /"-1" is not a whole number/],
      [['pool', 'create', 'x', '--image', at.image, '--ready', 'udp:1'], /"udp:1" is no readiness probe; write file:/],
      [['pool', 'create', 'x', '--image', at.image, '--size', '4', '--max', '2'], /min is above max/],
      [['pool', 'claim', 'x'], /pool x is not in namespace default; purser pool ls/],
      [['pool', 'scale', 'x', '2'], /pool x is not in namespace default/],
      [['pool', 'release', 'x'], /container x is not in namespace default/],
    ] as const) {
      const { exitCode, stderr } = await at.cli(...args)
      assert.notEqual(exitCode, 0)
      assert.match(stderr, message)
    }
  })
})
