import assert from 'node:assert/strict'
import { test } from 'node:test'
import { aggregates } from '../../../src/commands/index.ts'
import { rebuildState } from '../../../src/log/rebuild.ts'
import { type RestoreOptions, restoreLog } from '../../../src/log/restore.ts'
import { ledgerOf } from '../../../src/queue/intake.ts'
import { startBooks } from '../../support/books.ts'

type Books = Awaited<ReturnType<typeof startBooks>>

const restore = ({ redis, keys, archive, snapshots }: Books, options: Partial<RestoreOptions> = {}) =>
  restoreLog({
    redis,
    keys,
    node: 'test',
    aggregates,
    archive,
    snapshots,
    tailEvents: 10,
    segmentEvents: 100,
    acknowledged: 0,
    without: new Set(),
    ledgerOf,
    ...options,
  })

async function checkSound(books: Books): Promise<void> {
  const log = await books.open()
  assert.deepEqual((await rebuildState(log, books.redis, aggregates, 'check')).differences, [])
  assert.equal((await books.verify()).fault, undefined)
}

test('events that are damaged in Redis get placeholders in their places; those around them are kept', async () => {
  await using books = await startBooks()
  await books.grow(20)
  await books.sealer.seal()
  await books.grow(20)
  const before = await books.events()
  const { redis, keys } = books
  const held = await redis.xrange(keys.events, '21-0', '+')
  await redis.del(keys.events)
  for (const [id, [, json = '']] of held) {
    if (id === '25-0') continue
    await redis.xadd(keys.events, id, 'e', id === '30-0' || id === '31-0' ? json.slice(5) : json)
  }
  const report = await restore(books)
  assert.deepEqual(report.lost, [
    { first: 25, last: 25 },
    { first: 30, last: 31 },
  ])
  assert.deepEqual([report.archiveThrough, report.fromRedis, report.head], [20, 17, 41])
  await checkSound(books)
  const after = await books.events()
  const gone = [25, 30, 31]
  for (const { position, type } of after.slice(0, 40))
    assert.equal(type === 'log.event-lost', gone.includes(position), `event ${position}`)
  const kept = (all: typeof before) => all.filter(({ position }) => position <= 40 && !gone.includes(position))
  assert.deepEqual(kept(after), kept(before))
  assert.deepEqual(after.at(-1)?.data, { archiveThrough: 20, tailThrough: 40, lost: { first: 25, last: 31 } })
})

test('what somebody else put into the stream is not taken for an event', async () => {
  await using books = await startBooks()
  await books.grow(12)
  const [last] = await books.redis.xrange(books.keys.events, '12-0', '12-0')
  for (const id of ['13-0', '14-7', '999999999-0'])
    await books.redis.xadd(books.keys.events, id, 'e', last?.[1][1] ?? '')
  for (const head of ['known', 'lost']) {
    if (head === 'lost') await books.redis.hdel(books.keys.meta, 'head')
    assert.deepEqual((await restore(books)).lost, [])
    await checkSound(books)
  }
  assert.equal((await books.events()).filter(({ type }) => type === 'namespace.created').length, 12)
})

test('an event that was altered in Redis and named as such is not taken over', async () => {
  await using books = await startBooks()
  await books.grow(20)
  const { redis, keys, sealer } = books
  await sealer.checkTail()
  const all = await redis.xrange(keys.events, '-', '+')
  await redis.del(keys.events)
  for (const [id, [, json = '']] of all)
    await redis.xadd(keys.events, id, 'e', id === '7-0' ? json.replaceAll('n7', 'N7') : json)
  await assert.rejects(sealer.seal(), { code: 'data_loss', message: /event 7/ })
  const { lost, head } = await restore(books, { without: new Set([7]) })
  assert.deepEqual([lost, head], [[{ first: 7, last: 7 }], 21])
  await checkSound(books)
  assert.doesNotMatch(JSON.stringify(await books.events()), /N7/)
})

test('positions that are said to have been acknowledged are not used again; a number that cannot be is refused', async () => {
  await using books = await startBooks()
  await books.grow(5)
  await books.sealer.seal()
  await books.redis.flushall()
  await assert.rejects(restore(books, { acknowledged: 40_000_000 }), { code: 'data_loss', message: /40000000/ })
  const report = await restore(books, { acknowledged: 9 })
  assert.deepEqual([report.lost, report.head], [[{ first: 6, last: 9 }], 10])
  await checkSound(books)
})

test('a restoration that is cut off is made again, and nothing is lost by that', async () => {
  await using books = await startBooks()
  await books.grow(30)
  const before = await books.events()
  for (const command of ['unlink', 'xadd', 'hset']) {
    // As when the process ends before this command is sent.
    const cut = new Proxy(books.redis, {
      get(redis, name) {
        if (name === 'pipeline')
          return () =>
            new Proxy(redis.pipeline(), {
              get: (pipeline, of) => (of === command ? fail : bound(pipeline, of)),
            })
        return name === command ? fail : bound(redis, name)
      },
    })
    const fail = () => {
      throw new Error('cut off')
    }
    await assert.rejects(restore(books, { redis: cut }), /cut off/)
  }
  const { lost } = await restore(books)
  assert.deepEqual(lost, [])
  await checkSound(books)
  assert.deepEqual((await books.events()).slice(0, 30), before)
})

const bound = (of: object, name: string | symbol): unknown => {
  const value: unknown = Reflect.get(of, name)
  return typeof value === 'function' ? value.bind(of) : value
}

test('a log whose beginning retention has dropped is restored from a snapshot of the state', async () => {
  await using books = await startBooks({ segmentEvents: 20, keepBytes: 1 })
  await books.grow(90)
  await books.sealer.seal()
  await books.snapshots.take(books.log.documents)
  const state = [...books.log.documents.serialised('namespace')].sort()
  assert.ok((await books.archive.drop(60)).length > 0)
  assert.equal(books.archive.first, 61)
  await books.redis.flushall()
  assert.deepEqual((await restore(books)).lost, [])
  const log = await books.open()
  assert.deepEqual([...log.documents.serialised('namespace')].sort(), state)
  const base = await books.snapshots.base(log)
  assert.deepEqual((await rebuildState(log, books.redis, aggregates, 'check', base)).differences, [])
})

test('a log whose beginning is gone, and of whose state nothing is left, is not restored as if it were whole', async () => {
  await using books = await startBooks({ segmentEvents: 20 })
  await books.grow(30)
  await books.sealer.seal()
  await books.grow(10)
  await books.archive.drop(20)
  await assert.rejects(restore(books), { code: 'data_loss', message: /event 21 follows 0/ })
  assert.equal((await books.redis.hlen(books.keys.documents('namespace'))) > 0, true)
})
