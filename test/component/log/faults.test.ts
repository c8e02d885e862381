import assert from 'node:assert/strict'
import { mkdir, readFile, rmdir } from 'node:fs/promises'
import { test } from 'node:test'
import { openCheckpoint } from '../../../src/archive/checkpoint.ts'
import { verifierOf } from '../../../src/archive/note.ts'
import { aggregates } from '../../../src/commands/index.ts'
import { positionAt, positionOfEvent } from '../../../src/log/position.ts'
import { rebuildState } from '../../../src/log/rebuild.ts'
import { signer, startBooks } from '../../support/books.ts'

test('a head that cannot be published does not stop sealing, and what is sealed verifies', async () => {
  await using books = await startBooks({ segmentEvents: 10 })
  const { checkpoint } = books.archive.paths
  const inTheWay = `${checkpoint}.partial`
  await mkdir(inTheWay)
  await books.grow(25)
  assert.equal(await books.sealer.seal(), 25)
  await books.grow(25)
  assert.equal(await books.sealer.seal(), 50)
  const { fault, events } = await books.verify()
  assert.deepEqual({ fault, events }, { fault: undefined, events: 50 })
  await rmdir(inTheWay)
  await books.grow(5)
  assert.equal(await books.sealer.seal(), 55)
  assert.equal(openCheckpoint(await readFile(checkpoint, 'utf8'), verifierOf(signer)).size, 55)
})

test('a clock that is set back changes no order: times say what happened, and every event is found', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: Date.parse('2026-03-01T12:00:00Z') })
  await using books = await startBooks({ segmentEvents: 10 })
  await books.grow(15)
  t.mock.timers.setTime(Date.parse('2026-03-01T11:00:00Z'))
  await books.grow(15)
  assert.equal(await books.sealer.seal(), 30)
  await books.grow(5)
  t.mock.timers.setTime(Date.parse('2026-03-01T13:00:00Z'))
  await books.grow(5)
  const events = await books.events()
  assert.deepEqual(
    events.map(({ position }) => position),
    events.map((_, index) => index + 1),
  )
  const hours = events.map(({ time }) => new Date(time).getUTCHours())
  assert.deepEqual(hours, [...Array(15).fill(12), ...Array(20).fill(11), ...Array(5).fill(13)])
  assert.equal((await books.verify()).fault, undefined)
  assert.equal(await positionAt(books.log, Date.parse('2026-03-01T12:30:00Z')), 35)
  assert.equal(await positionAt(books.log, Date.parse('2026-03-01T10:00:00Z')), 0)
  for (const { id, position } of events) assert.equal(await positionOfEvent(books.log, id), position)
  assert.deepEqual((await rebuildState(books.log, books.redis, aggregates, 'check')).differences, [])
})

test('a bit that flips in a stored document, or in the head, does not stay unnoticed', async () => {
  await using books = await startBooks()
  await books.grow(20)
  const key = books.keys.documents('namespace')
  const [field = ''] = await books.redis.hkeys(key)
  const stored = Buffer.from((await books.redis.hgetBuffer(key, field)) ?? '')
  for (let at = 0; at < stored.length; at++) {
    const bit = 1 << (at % 8)
    await books.redis.hset(key, field, Buffer.from(stored.with(at, (stored[at] ?? 0) ^ bit)))
    const { differences } = await rebuildState(books.log, books.redis, aggregates, 'check')
    assert.deepEqual(
      differences.map((each) => each.field),
      [field],
      `bit ${at % 8} of byte ${at}`,
    )
  }
  await books.redis.hset(key, field, stored)
  assert.deepEqual((await rebuildState(books.log, books.redis, aggregates, 'check')).differences, [])

  await books.redis.hset(books.keys.meta, 'head', '60') // 20 with a bit flipped
  await assert.rejects(rebuildState(books.log, books.redis, aggregates, 'check'), { code: 'data_loss' })
  await books.redis.hset(books.keys.meta, 'head', '10')
  await assert.rejects(books.open(), { code: 'data_loss', message: /up to event 10, but events up to 20 were/ })
})
