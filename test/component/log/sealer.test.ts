import assert from 'node:assert/strict'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { aggregates } from '../../../src/commands/index.ts'
import { namespace } from '../../../src/commands/namespace.ts'
import { Documents } from '../../../src/log/documents.ts'
import { rebuildState } from '../../../src/log/rebuild.ts'
import { spontaneous } from '../../../src/model/event.ts'
import { startBooks } from '../../support/books.ts'

test('readers see archive and tail as one sequence, whatever Redis still holds', async () => {
  await using books = await startBooks()
  await books.grow(250)
  const before = await books.events()
  assert.equal(await books.sealer.seal(), 250)
  assert.equal(await books.redis.xlen(books.keys.events), 10)
  await books.grow(5)
  const after = await books.events()
  assert.deepEqual(after.slice(0, 250), before)
  assert.deepEqual(
    after.map(({ position }) => position),
    Array.from({ length: 255 }, (_, index) => index + 1),
  )
  const middle = await Array.fromAsync(books.log.read(238, 252))
  assert.deepEqual(middle, after.slice(238, 252))
  assert.equal(books.archive.segments.length, 3)
  const { fault, events } = await books.verify()
  assert.deepEqual({ fault, events }, { fault: undefined, events: 250 })
  assert.deepEqual((await rebuildState(books.log, books.redis, aggregates, 'check')).differences, [])
})

test('a subscriber that resumes in the archive reaches the live tail', async () => {
  await using books = await startBooks()
  await books.grow(120)
  await books.sealer.seal()
  // As after a restart: nothing of it is in memory.
  const log = await books.open()
  const seen: number[] = []
  const stop = new AbortController()
  for await (const { position } of log.subscribe(7, stop.signal)) {
    seen.push(position)
    if (position === 120) {
      const fact = namespace.fact('late', 'namespace.created', { labels: {} })
      await log.record([fact], 'late', spontaneous('test'))
    }
    if (position === 121) stop.abort()
  }
  assert.deepEqual(
    seen,
    Array.from({ length: 114 }, (_, index) => index + 8),
  )
})

test('a subscriber that retention overtakes is told, with where to go on', async () => {
  await using books = await startBooks({ tailEvents: 0 })
  await books.grow(450)
  await books.sealer.seal()
  const log = await books.open()
  const { signal } = new AbortController()
  const seen: number[] = []
  await assert.rejects(
    async () => {
      for await (const { position } of log.subscribe(0, signal)) {
        seen.push(position)
        if (position === 70) await books.archive.drop(300)
      }
    },
    { code: 'out_of_range', message: /^events 101 to 300 were dropped by retention/, remedy: /since=300/ },
  )
  assert.equal(seen.at(-1), 100)
  const rest = log.subscribe(300, signal)
  assert.equal((await rest.next()).value?.position, 301)
  await rest.return(undefined)
})

test('nothing that is not sealed leaves Redis', async () => {
  await using books = await startBooks({ tailEvents: 0, tailAgeMs: 0 })
  await books.grow(30)
  await books.sealer.seal()
  await books.grow(3)
  await books.sealer.checkTail()
  assert.equal(await books.redis.xlen(books.keys.events), 3)
})

test('an event that is altered in Redis is not sealed, and is named', async () => {
  await using books = await startBooks()
  await books.grow(20)
  await books.sealer.checkTail()
  const all = await books.redis.xrange(books.keys.events, '-', '+')
  await books.redis.del(books.keys.events)
  for (const [id, [field = '', json = '']] of all)
    await books.redis.xadd(
      books.keys.events,
      id,
      field,
      id === '7-0' ? json.replace('"n7"', '"N7"').replace('/n7', '/N7') : json,
    )
  await assert.rejects(books.sealer.seal(), /event 7 in Redis is not the one that was appended/)
  assert.match(books.sealer.problem?.message ?? '', /event 7/)
  assert.equal(books.archive.last, 0)
})

test('an event that is put into Redis by hand gets into no fold: it is taken out, kept as evidence, and that is recorded', async () => {
  await using books = await startBooks()
  await books.grow(3)
  const [entry] = await books.redis.xrange(books.keys.events, '3-0', '3-0')
  await books.redis.xadd(books.keys.events, '4-0', 'e', entry?.[1][1] ?? '')
  await books.redis.xadd(books.keys.events, '*', 'e', 'no event at all')
  await books.log.catchUp()
  assert.equal(books.log.head, 3)
  await books.grow(1)
  const events = await books.events()
  assert.deepEqual(
    events.slice(3).map(({ type }) => type),
    ['log.entries-quarantined', 'namespace.created'],
  )
  assert.equal(events[3]?.data.count, 2)
  assert.equal(await books.redis.xlen(books.keys.quarantine), 2)
  assert.deepEqual((await rebuildState(books.log, books.redis, aggregates, 'check')).differences, [])
})

test('a Redis that holds less than the archive is refused, with what to do', async () => {
  await using books = await startBooks()
  await books.grow(12)
  await books.sealer.seal()
  await books.redis.flushall()
  await assert.rejects(books.open(), (error: Error & { code?: string; remedy?: string }) => {
    assert.equal(error.code, 'data_loss')
    assert.match(error.remedy ?? '', /purser log restore/)
    return true
  })
})

test('sealing goes on by size and by number, and a clock that went back changes no order', async (t) => {
  await using books = await startBooks({ segmentEvents: 50, segmentBytes: 8000 })
  await books.grow(40)
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() - 3_600_000 })
  await books.grow(40)
  t.mock.timers.reset()
  await books.sealer.seal()
  const { fault, events } = await books.verify()
  assert.deepEqual({ fault, events }, { fault: undefined, events: 80 })
  assert.ok(books.archive.segments.length >= 3, 'segments of at most 8000 bytes of JSON')
  const positions = (await books.events()).map(({ position }) => position)
  assert.deepEqual(
    positions,
    positions.toSorted((a, b) => a - b),
  )
})

test('the state at any position is what the log folds to up to there, from a snapshot, a damaged one or none', async () => {
  await using books = await startBooks()
  await books.grow(130)
  const signal = AbortSignal.timeout(10_000)
  const serialised = (documents: Documents) => [...documents.serialised('namespace')]
  const check = async () => {
    for (const position of [0, 1, 49, 50, 51, 99, 100, 120, 130]) {
      const folded = new Documents(aggregates)
      for await (const event of books.log.read(0, position)) folded.apply(event)
      assert.deepEqual(serialised(await books.snapshots.at(books.log, position, signal)), serialised(folded))
    }
  }
  await check()
  await writeFile(join(books.dir, 'states', '0000000000000100.ndjson.zst'), 'damaged')
  await check()
  await rm(join(books.dir, 'states'), { recursive: true })
  await check()
})

test('what retention drops is recorded, and what is left still folds to the state', async () => {
  await using books = await startBooks({ keepBytes: 1, segmentEvents: 40, tailEvents: 0 })
  await books.grow(170)
  books.sealer.start()
  await books.sealer.seal()
  while (books.log.head === 170) await new Promise((resolve) => setTimeout(resolve, 10))
  await books.sealer.stop()
  const events = await books.events()
  assert.equal(events.at(-1)?.type, 'log.segments-dropped')
  const { first } = books.archive
  assert.ok(first > 100, `${first}`)
  assert.equal(events[0]?.position, first)
  const base = await books.snapshots.base(books.log)
  assert.deepEqual((await rebuildState(books.log, books.redis, aggregates, 'check', base)).differences, [])
  assert.equal((await books.verify()).fault, undefined)
})
