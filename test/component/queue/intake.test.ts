import assert from 'node:assert/strict'
import { test } from 'node:test'
import { collection } from '../../../src/commands/collection.ts'
import { image } from '../../../src/commands/image.ts'
import { commandTypes } from '../../../src/commands/index.ts'
import { PurserError } from '../../../src/model/errors.ts'
import { defineTestHandler, eventually, startQueue } from '../../support/queue.ts'

const COLLECT = { type: 'gc.collect', subject: 'node' } as const
const done = defineTestHandler(collection, 'gc.collect', async () => ({ facts: [] }))
const created = (name: string) => ({ type: 'namespace.create', subject: name }) as const

test('an idempotency key given again for the same request gives the same command', async () => {
  await using queue = await startQueue({ handlers: [done] })
  const part = await queue.start()
  const request = {
    type: 'container.run',
    namespace: 'ns',
    idempotencyKey: 'k',
    payload: { image: 'alpine', labels: { a: '1', b: '2' } },
  }
  const first = await part.submit(request)
  const same = {
    ...request,
    payload: { labels: { b: '2', a: '1' }, image: 'docker.io/library/alpine:latest', onExit: 'keep' },
  }
  for (const each of [request, same]) {
    assert.deepEqual(await part.submit(each), { ...first, duplicate: true }, 'also the container name that was made up')
  }
  assert.equal((await part.events()).filter(({ type }) => type === 'command.accepted').length, 1)
})

test('of many requests with one idempotency key at once, one becomes a command', async () => {
  await using queue = await startQueue({ handlers: [done] })
  const part = await queue.start()
  const all = await Promise.all(Array.from({ length: 30 }, () => part.submit({ ...COLLECT, idempotencyKey: 'k' })))
  assert.equal(new Set(all.map(({ id }) => id)).size, 1)
  assert.equal(all.filter(({ duplicate }) => !duplicate).length, 1)
  assert.equal((await part.events()).filter(({ type }) => type === 'command.accepted').length, 1)
})

test('an idempotency key that was used for another request is refused, and says for which', async () => {
  await using queue = await startQueue({ handlers: [done] })
  const part = await queue.start()
  const { id } = await part.submit({ ...created('a'), idempotencyKey: 'k' })
  const other = { type: 'namespace.create', subject: 'a', idempotencyKey: 'k', payload: { labels: { a: 'b' } } }
  await assert.rejects(part.submit(other), (error) => {
    assert.ok(error instanceof PurserError)
    assert.deepEqual([error.code, error.field], ['already_exists', 'idempotencyKey'])
    assert.match(error.message, new RegExp(id))
    return true
  })
  // Also where the command makes the namespace that it is kept in: the key is of the one that the client named.
  await assert.rejects(part.submit({ ...created('b'), idempotencyKey: 'k' }), { code: 'already_exists' })
  const elsewhere = await part.submit({ ...created('b'), namespace: 'other', idempotencyKey: 'k' })
  assert.equal(elsewhere.duplicate, false, 'keys are per namespace')
})

test('an idempotency key is remembered by a daemon that starts later', async () => {
  await using queue = await startQueue({ handlers: [done] })
  const first = await (await queue.start()).submit({ ...COLLECT, idempotencyKey: 'k' })
  const later = await queue.start()
  assert.deepEqual(await later.submit({ ...COLLECT, idempotencyKey: 'k' }), { ...first, duplicate: true })
})

test('a request that is wrong names the field, and leaves nothing in the log', async () => {
  await using queue = await startQueue({ handlers: [done] })
  const part = await queue.start()
  const run = { type: 'container.run', subject: 'c1', payload: { image: 'alpine' } }
  const wrong: [Record<string, unknown>, string][] = [
    [{ ...run, payload: { image: 'alpine', imagee: 'x' } }, 'payload.imagee'],
    [{ ...run, payload: { image: 'alpine', options: { memory: 1 } } }, 'payload.options.memory'],
    [{ ...run, payload: {} }, 'payload.image'],
    [{ ...run, payload: { image: 'a b' } }, 'payload.image'],
    [{ ...run, subject: '../etc' }, 'subject'],
    [{ ...run, namespace: 'a/b' }, 'namespace'],
    [{ ...run, priority: 0 }, 'priority'],
    [{ ...run, deadline: 'tomorrow' }, 'deadline'],
    [{ ...run, deadlin: '2030-01-01T00:00:00Z' }, 'deadlin'],
    [{ ...run, traceparent: '00-1-2-3' }, 'traceparent'],
    [{ ...run, idempotencyKey: '' }, 'idempotencyKey'],
    [{ type: 'task.start' }, 'subject'],
  ]
  for (const [request, field] of wrong) {
    await assert.rejects(
      part.submit(request as Parameters<typeof part.submit>[0]),
      (error) => error instanceof PurserError && error.code === 'invalid_argument' && error.field === field,
      JSON.stringify(request),
    )
  }
  assert.deepEqual(await part.events(), [])
})

test('a type that is not known is refused with those that are', async () => {
  await using queue = await startQueue({ handlers: [done] })
  const part = await queue.start()
  for (const type of ['container.rum', 'constructor', '__proto__', '']) {
    await assert.rejects(part.submit({ type }), (error) => {
      assert.ok(error instanceof PurserError)
      assert.deepEqual([error.code, error.field], ['invalid_argument', 'type'])
      for (const known of commandTypes.keys()) assert.ok(error.remedy?.includes(known), known)
      return true
    })
  }
})

test('a command whose deadline has passed is recorded as failed, and not carried out', async () => {
  let called = 0
  const counted = defineTestHandler(collection, 'gc.collect', async () => {
    called += 1
    return { facts: [] }
  })
  await using queue = await startQueue({ handlers: [counted] })
  const part = await queue.start()
  await part.run()
  const deadline = new Date(Date.now() - 1000).toISOString()
  for (const request of [COLLECT, created('late')]) {
    const ended = await part.ended(await part.submit({ ...request, deadline }))
    assert.equal(ended.status, 'failed')
    assert.ok('error' in ended && ended.error.code === 'deadline_exceeded')
  }
  assert.equal(called, 0)
  assert.deepEqual(await part.typesOf('namespace/late'), [])
})

test('a command on a record is decided in the append that accepts it', async () => {
  await using queue = await startQueue({ handlers: [done] })
  const part = await queue.start()
  const { id } = await part.submit(created('a'))
  assert.deepEqual(
    (await part.events()).map(({ type, position }) => ({ type, position })),
    [
      { type: 'command.accepted', position: 1 },
      { type: 'namespace.created', position: 2 },
      { type: 'command.succeeded', position: 3 },
    ],
  )
  const again = await part.ended(await part.submit(created('a')))
  assert.ok(again.status === 'failed' && again.error.code === 'already_exists')
  assert.deepEqual(await part.typesOf('namespace/a'), ['namespace.created'])
  for (const event of (await part.events()).slice(0, 3)) assert.equal(event.commandid, id)
})

test('of many requests to create one thing at once, one succeeds', async () => {
  await using queue = await startQueue({ handlers: [done] })
  const part = await queue.start()
  const all = await Promise.all(Array.from({ length: 20 }, () => part.submit(created('a'))))
  const ends = await Promise.all(all.map((each) => part.ended(each)))
  assert.equal(ends.filter(({ status }) => status === 'succeeded').length, 1)
  assert.deepEqual(await part.typesOf('namespace/a'), ['namespace.created'])
})

test('a command that waits is cancelled before it begins', async () => {
  await using queue = await startQueue({ handlers: [done] })
  const part = await queue.start() // Nothing carries out: the relay does not run.
  const waiting = await part.submit(COLLECT)
  const cancel = await part.ended(await part.submit({ type: 'command.cancel', subject: waiting.id }))
  assert.equal(cancel.status, 'succeeded')
  await part.run()
  const ended = await part.ended(waiting)
  assert.ok(ended.status === 'cancelled' && ended.error.code === 'cancelled')
  assert.equal((await part.typesOf(`command/${waiting.id}`)).includes('command.started'), false)
})

test('a command that runs is told that it is cancelled, and undoes what it did', async () => {
  const undone: string[] = []
  const pulls = defineTestHandler(image, 'image.pull', async (job) => {
    await using undo = job.undoStack()
    undo.defer(() => void undone.push('first'))
    undo.defer(() => void undone.push('second'))
    await job.append(image.fact(job.id, 'image.pulling', { platform: '' }))
    await new Promise((_, reject) => job.signal.addEventListener('abort', () => reject(job.signal.reason)))
    return { facts: [] }
  })
  await using queue = await startQueue({ handlers: [pulls] })
  const part = await queue.start()
  await part.run()
  const running = await part.submit({ type: 'image.pull', subject: 'alpine' })
  await eventually(part, ({ type }) => type === 'image.pulling')
  const cancel = { type: 'command.cancel', subject: running.id }
  for (const each of [cancel, cancel]) assert.equal((await part.ended(await part.submit(each))).status, 'succeeded')
  const ended = await part.ended(running)
  assert.ok(ended.status === 'cancelled' && ended.error.message.includes('unix:uid=0'), 'it says who cancelled it')
  assert.deepEqual(undone, ['second', 'first'])
  const late = await part.ended(await part.submit(cancel))
  assert.ok(late.status === 'failed' && late.error.code === 'failed_precondition')
  const unknown = await part.submit({ type: 'command.cancel', subject: '01890000-0000-7000-8000-000000000000' })
  const refused = await part.ended(unknown)
  assert.ok(refused.status === 'failed' && refused.error.code === 'not_found')
})

test('commands that are cancelled at any moment end once, as one or the other', async () => {
  await using queue = await startQueue({ handlers: [done], sweepMs: 200 })
  const part = await queue.start()
  await part.run()
  const all = await Promise.all(
    Array.from({ length: 40 }, async (_, index) => {
      const accepted = await part.submit({ ...COLLECT, namespace: `n${index}` })
      await part.submit({ type: 'command.cancel', subject: accepted.id, namespace: accepted.namespace })
      return accepted
    }),
  )
  for (const each of all) {
    const { status } = await part.ended(each)
    assert.ok(status === 'cancelled' || status === 'succeeded', status)
    const types = await part.typesOf(`command/${each.id}`)
    assert.equal(types.filter((type) => /succeeded|failed|cancelled/.test(type)).length, 1, types.join(' '))
  }
})
