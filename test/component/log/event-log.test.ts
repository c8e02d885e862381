import assert from 'node:assert/strict'
import { test } from 'node:test'
import { aggregates } from '../../../src/commands/index.ts'
import { namespace } from '../../../src/commands/namespace.ts'
import { rebuildState } from '../../../src/log/rebuild.ts'
import { spontaneous } from '../../../src/model/event.ts'
import { startLog } from '../../support/log.ts'

const cause = spontaneous('test')
const created = (name: string, labels = {}) => namespace.fact(name, 'namespace.created', { labels })
const removed = (name: string) => namespace.fact(name, 'namespace.removed', {})

test('of two appends at one version, one is written', async () => {
  await using books = await startLog()
  const { log } = books
  const changes = log.changesOf([created('a')], 'a')
  const outcomes = await Promise.all([log.append(changes, cause), log.append(changes, cause)])
  assert.deepEqual(outcomes.map(({ outcome }) => outcome).sort(), ['conflict', 'written'])
  assert.deepEqual(
    (await books.events()).map(({ type }) => type),
    ['namespace.created'],
  )
})

test('an append of several changes writes all of them or none', async () => {
  await using books = await startLog()
  const { log } = books
  await log.record([created('b')], 'b', cause)
  const changes = [
    { aggregate: 'namespace', namespace: 'a', id: 'a', expectedVersion: 0, facts: [created('a')] },
    { aggregate: 'namespace', namespace: 'b', id: 'b', expectedVersion: 0, facts: [created('b')] }, // stale
  ]
  assert.equal((await log.append(changes, cause)).outcome, 'conflict')
  assert.equal(log.documents.get(namespace, 'a', 'a').status, 'absent')
  assert.equal((await books.events()).length, 1)
})

test('facts stand in the log in the order they are given in, whichever aggregates they are about', async () => {
  await using books = await startLog()
  const { log, redis } = books
  const facts = [created('a'), created('b'), removed('a'), created('c'), created('a', { again: 'yes' })]
  await log.record(facts, 'x', cause)
  const order = ['a +', 'b +', 'a -', 'c +', 'a +']
  const seen = (await books.events()).map(
    ({ type, subject }) => `${subject.slice(-1)} ${type === 'namespace.created' ? '+' : '-'}`,
  )
  assert.deepEqual(seen, order)
  assert.equal(log.documents.version(namespace, 'x', 'a'), 5)
  assert.equal(log.documents.version(namespace, 'x', 'b'), 2)
  assert.deepEqual((await rebuildState(log, redis, aggregates, 'check')).differences, [])
})

test('positions have no gaps, whoever appends at the same time', async () => {
  await using books = await startLog()
  await Promise.all(Array.from({ length: 200 }, (_, i) => books.log.record([created(`n${i}`)], `n${i}`, cause)))
  assert.deepEqual(
    (await books.events()).map(({ position }) => position),
    Array.from({ length: 200 }, (_, i) => i + 1),
  )
  assert.equal(books.log.head, 200)
})

test('a daemon that was superseded can write nothing', async () => {
  await using books = await startLog()
  await books.open()
  await assert.rejects(books.log.record([created('a')], 'a', cause), { code: 'aborted' })
  assert.deepEqual(await books.events(), [])
})

test('an attempt whose fence was taken by another can write nothing', async () => {
  await using books = await startLog()
  const { log } = books
  const commandId = '01890000-0000-7000-8000-000000000000'
  const first = await log.record([created('a')], 'a', cause, { fence: { commandId, take: true } })
  const second = await log.record([created('b')], 'b', cause, { fence: { commandId, take: true } })
  await assert.rejects(log.record([created('c')], 'c', cause, { fence: { commandId, token: first } }), {
    code: 'aborted',
  })
  await log.record([created('d')], 'd', cause, { fence: { commandId, token: second, release: true } })
  assert.deepEqual(
    (await books.events()).map(({ subject }) => subject),
    ['namespace/a', 'namespace/b', 'namespace/d'],
  )
})

test('an idempotency key is used once, and tells what for', async () => {
  await using books = await startLog()
  const { log } = books
  const idempotency = { namespace: 'a', key: 'k', value: 'first' }
  assert.equal((await log.append(log.changesOf([created('a')], 'a'), cause, { idempotency })).outcome, 'written')
  const again = await log.append(log.changesOf([created('b')], 'b'), cause, {
    idempotency: { ...idempotency, value: 'second' },
  })
  assert.deepEqual(again, { outcome: 'duplicate', value: 'first' })
})

test('a log opened again has the same documents, and goes on at the next position', async () => {
  await using books = await startLog()
  await books.log.record([created('a', { x: 'y' })], 'a', cause)
  await books.log.record([created('b')], 'b', cause)
  await books.log.record([removed('b')], 'b', cause)
  const again = await books.open()
  assert.deepEqual([...again.documents.serialised('namespace')], [...books.log.documents.serialised('namespace')])
  assert.equal(await again.record([created('c')], 'c', cause), 4)
})

test('a subscriber that begins in the past gets every event once, then those to come', async () => {
  await using books = await startLog()
  const { log } = books
  for (let i = 0; i < 30; i++) await log.record([created(`n${i}`)], `n${i}`, cause)
  const stop = new AbortController()
  const seen: number[] = []
  const reading = (async () => {
    for await (const event of log.subscribe(10, stop.signal)) {
      seen.push(event.position)
      if (event.position === 60) return
    }
  })()
  for (let i = 30; i < 60; i++) await log.record([created(`n${i}`)], `n${i}`, cause)
  await reading
  stop.abort()
  assert.deepEqual(
    seen,
    Array.from({ length: 50 }, (_, i) => i + 11),
  )
})

test('the whole log folded anew gives byte for byte what is stored', async () => {
  await using books = await startLog()
  const { log, redis } = books
  for (let i = 0; i < 50; i++) await log.record([created(`n${i}`, { i: String(i) })], `n${i}`, cause)
  for (let i = 0; i < 50; i += 3) await log.record([removed(`n${i}`)], `n${i}`, cause)
  const check = await rebuildState(log, redis, aggregates, 'check')
  assert.deepEqual(check.differences, [])
  assert.equal(check.documents, 33)
})

test('a document that was changed behind the log is found, and repaired from it', async () => {
  await using books = await startLog()
  const { log, redis, keys } = books
  await log.record([created('a')], 'a', cause)
  const before = await redis.hget(keys.documents('namespace'), 'a/a')
  await redis.hset(keys.documents('namespace'), 'a/a', '1 {"status":"forged"}', 'z/z', '9 {}')
  const check = await rebuildState(log, redis, aggregates, 'repair')
  assert.deepEqual(check.differences.map(({ field }) => field).sort(), ['a/a', 'z/z'])
  assert.equal(await redis.hget(keys.documents('namespace'), 'a/a'), before)
  assert.deepEqual((await rebuildState(log, redis, aggregates, 'check')).differences, [])
})
