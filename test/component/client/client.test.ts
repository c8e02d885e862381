import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { PurserClient, PurserError, type StoredEvent } from 'purser'
import { type CliNode, startCliNode } from '../../support/cli.ts'

describe('the exported client', () => {
  let at: CliNode
  let client: PurserClient
  before(async () => {
    at = await startCliNode()
    client = new PurserClient({ socketPath: at.node.socketPath })
  })
  after(() => at[Symbol.asyncDispose]())

  const sleeper = (seconds = 1000) => ({ image: at.image, options: { args: ['sleep', String(seconds)] } })

  test('execute runs a command to its end, and exitOf tells how the process ended', async () => {
    const payload = { image: at.image, options: { args: ['sh', '-c', 'echo hi; exit 7'] } }
    const run = await client.execute('container.run', { subject: 'c1', payload })
    assert.equal(run.status, 'succeeded')
    assert.equal((await client.exitOf(run.subject)).exitCode, 7)
    const lines = await Array.fromAsync(client.logs('c1'))
    assert.deepEqual(
      lines.map(({ stream, text }) => [stream, text.toString()]),
      [['stdout', 'hi']],
    )
    assert.equal((await client.container('c1')).status, 'exited')
    assert.equal((await client.image(at.image)).name, at.image)
    assert.ok((await client.history('c1')).some(({ type }) => type === 'task.exited'))
    await client.execute('container.remove', { subject: 'c1' })
  })

  test('failures are PurserErrors with code, remedy and field', async () => {
    await assert.rejects(client.container('nosuch'), (error) => {
      assert.ok(error instanceof PurserError)
      assert.equal(error.code, 'not_found')
      assert.equal(error.remedy, 'purser ps -a lists what there is')
      return true
    })
    const payload = { image: at.image, options: { resources: { cpus: -1 } } }
    await assert.rejects(client.execute('container.run', { payload }), {
      code: 'invalid_argument',
      field: 'payload.options.resources.cpus',
    })
    await assert.rejects(client.execute('container.start', { subject: 'nosuch' }), { code: 'not_found' })
    const elsewhere = new PurserClient({ socketPath: `${at.node.dir}/nosuch` })
    await assert.rejects(elsewhere.submit('gc.collect', { subject: 'node' }), { code: 'unavailable' })
    await assert.rejects(Array.fromAsync(elsewhere.events({ follow: true })), { code: 'unavailable' })
  })

  test('a deadline, a priority and a key are the command’s; a repeated key is answered with the command of then', async () => {
    const deadline = new Date(Date.now() + 60_000).toISOString()
    const options = {
      subject: 'node',
      priority: 9,
      deadline,
      idempotencyKey: 'key1',
      payload: { mode: 'dry-run' },
    } as const
    const first = await client.execute('gc.collect', options)
    assert.equal(first.priority, 9)
    assert.equal(first.deadline, deadline)
    assert.equal((await client.submit('gc.collect', options)).id, first.id)
    const listed = await Array.fromAsync(client.list('commands', { type: 'gc.*' }))
    assert.equal(listed.length, 1)
  })

  test('lists come whole, however many pages they have, and filtered by several labels', async () => {
    for (const [id, tier] of [
      ['l1', '1'],
      ['l2', '2'],
      ['l3', '1'],
    ] as const) {
      await client.execute('container.provision', {
        subject: id,
        payload: { ...sleeper(), labels: { role: 'web', tier } },
      })
    }
    const ids = async (query: Record<string, string | readonly string[]>) =>
      (await Array.fromAsync(client.list('containers', query))).map(({ id }) => id)
    assert.deepEqual(await ids({ limit: '1' }), ['l1', 'l2', 'l3'])
    assert.deepEqual(await ids({ label: ['role=web', 'tier=1'] }), ['l1', 'l3'])
    for (const subject of ['l1', 'l2', 'l3']) await client.execute('container.remove', { subject })
  })

  test('waits for a command and for an exit go on over a kill of the daemon', async () => {
    const accepted = await client.submit('container.run', { subject: 'w1', payload: sleeper(2) })
    const ended = client.ended(accepted.id)
    await at.node.kill9()
    await at.node.restart()
    assert.equal((await ended).status, 'succeeded')
    const exit = client.exitOf('w1')
    await at.node.restart()
    assert.equal((await exit).exitCode, 0)
    await client.execute('container.remove', { subject: 'w1' })
  })

  test('a wait for a daemon that does not come back fails after reconnectMs', async () => {
    const impatient = new PurserClient({ socketPath: at.node.socketPath, reconnectMs: 300 })
    await client.execute('container.run', { subject: 'w2', payload: sleeper() })
    const exit = impatient.exitOf('w2')
    exit.catch(() => {}) // Looked at below.
    await client.container('w2')
    await at.node.kill9()
    await assert.rejects(exit, { code: 'unavailable' })
    await at.node.restart()
    await client.execute('container.remove', { subject: 'w2', payload: { running: 'kill' } })
  })

  test('events resume where they were over kills at any moment: every position once, in order', async (t) => {
    const seen: StoredEvent[] = []
    const stop = new AbortController()
    const following = (async () => {
      for await (const event of client.events({ since: 0, follow: true, signal: stop.signal })) seen.push(event)
    })()
    following.catch(() => {}) // Ends with the signal.
    for (let round = 0; round < 3; round++) {
      const work = Promise.allSettled(
        Array.from({ length: 20 }, (_, index) => client.execute('namespace.create', { subject: `r${round}-${index}` })),
      )
      const delayMs = Math.floor(Math.random() * 60)
      t.diagnostic(`killed after ${delayMs} ms`)
      await at.node.kill9After(delayMs)
      await at.node.restart()
      for (const { status } of await work) assert.equal(status, 'fulfilled')
    }
    const all = await Array.fromAsync(client.events())
    while (seen.length < all.length) await delay(10)
    stop.abort()
    await assert.rejects(following, { name: 'AbortError' })
    assert.deepEqual(seen.slice(0, all.length), all)
    const created = seen.filter(({ type }) => type === 'namespace.created').map(({ subject }) => subject)
    assert.equal(new Set(created).size, created.length)
  })

  test('leaving the loop ends the iterator, and an aborted wait rejects at once', async () => {
    for await (const event of client.events({ since: 0, follow: true })) {
      assert.equal(event.position, 1)
      break
    }
    await client.execute('container.run', { subject: 'a1', payload: sleeper() })
    await assert.rejects(client.exitOf('a1', AbortSignal.timeout(50)), { name: 'AbortError' })
    await client.execute('container.remove', { subject: 'a1', payload: { running: 'kill' } })
  })

  test('progress names the layers of a pull', async () => {
    await client.execute('image.delete', { subject: at.image })
    await client.execute('gc.collect', { subject: 'node' })
    const pull = await client.submit('image.pull', { subject: at.image })
    const reports = await Array.fromAsync(client.progress(pull.id))
    assert.equal((await client.ended(pull.id)).status, 'succeeded')
    for (const { layers } of reports) for (const { digest } of layers ?? []) assert.match(digest, /^sha256:/)
  })
})
