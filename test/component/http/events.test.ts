import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { z } from 'zod'
import { problemSchema } from '../../../src/api/http/problem.ts'
import { namespace } from '../../../src/commands/namespace.ts'
import type { Fact } from '../../../src/model/aggregate.ts'
import { eventEnvelope, type StoredEvent } from '../../../src/model/event.ts'
import { type Api, open, positions, read, startApi } from '../../support/http.ts'

const COMMAND = '01890000-0000-7000-8000-000000000001'
const OUTERMOST = '01890000-0000-7000-8000-000000000002'
const TRACE = '0af7651916cd43dd8448eb211c80319c'
const stored = eventEnvelope.extend({ position: z.int() })

const created = (id: string, inside = id): Fact => ({
  ...namespace.fact(id, 'namespace.created', { labels: {} }),
  namespace: inside,
})

describe('GET /v1/events', () => {
  let api: Api
  before(async () => {
    api = await startApi()
    const by = (actor: string) => ({ commandId: COMMAND, correlationId: OUTERMOST, actor })
    await api.facts([created('a'), created('b')], by('unix:uid=0,gid=0,pid=1'))
    const traceparent = `00-${TRACE}-b7ad6b7169203331-01`
    await api.facts([created('c')], { ...by('unix:uid=1000,gid=1000,pid=2,exe=/bin/x'), traceparent })
    await api.facts([namespace.fact('a', 'namespace.removed', {})], undefined, 'a')
    await api.facts([created('d')])
  })
  after(() => api[Symbol.asyncDispose]())

  const all = async (query = '', headers: Record<string, string> = {}): Promise<StoredEvent[]> => {
    const found: StoredEvent[] = []
    for await (const { data } of read(await open(api.socketPath, `/v1/events?${query}`, headers))) {
      if (data !== undefined) found.push(stored.parse(data))
    }
    return found
  }
  const at = async (query: string) => (await all(query)).map(({ position }) => position)

  test('each event has its position as id, its type as event, and all of it as data', async () => {
    const response = await open(api.socketPath, '/v1/events')
    assert.equal(response.headers['content-type'], 'text/event-stream')
    assert.equal(response.headers['cache-control'], 'no-store')
    const items = await Array.fromAsync(read(response))
    assert.deepEqual(items[0], { id: 0, type: 'message', data: undefined })
    const log = await Array.fromAsync(api.log.read(0))
    assert.deepEqual(
      items.slice(1),
      log.map((event) => ({ id: event.position, type: event.type, data: event })),
    )
  })

  test('as NDJSON an event is a line', async () => {
    const answer = await api.http('GET', '/v1/events?since=2', undefined, { accept: 'application/x-ndjson' })
    assert.equal(answer.headers['content-type'], 'application/x-ndjson')
    const lines = answer.text.trimEnd().split('\n')
    assert.deepEqual(
      lines.map((line) => JSON.parse(line)),
      await all('since=2'),
    )
  })

  test('since and until are positions: after the one, up to the other', async () => {
    assert.deepEqual(await at('since=0&until=2'), [1, 2])
    assert.deepEqual(await at('since=2&until=4'), [3, 4])
    assert.deepEqual(await at('since=4'), [5])
    assert.deepEqual(await at('since=5'), [])
    assert.deepEqual(await at('since=3&until=3'), [])
    assert.deepEqual(await at('since=4&until=1'), [])
  })

  test('since and until are times and durations', async () => {
    await using timed = await startApi()
    await timed.facts([created('x')])
    const [{ time = '' } = {}] = await Array.fromAsync(timed.log.read(0))
    const times = [time]
    while (new Date().toISOString() <= time) await new Promise(setImmediate) // The next has a later time.
    await timed.facts([created('y')])
    for await (const event of timed.log.read(1)) times.push(event.time)
    const get = async (query: string) =>
      positions(await open(timed.socketPath, `/v1/events?${query}`), Number.POSITIVE_INFINITY)
    assert.deepEqual(await get(`since=${times[0]}`), [1, 2]) // What happened at that very moment is in.
    assert.deepEqual(await get(`since=${times[1]}`), [2])
    assert.deepEqual(await get(`until=${times[0]}`), [1])
    assert.deepEqual(await get('since=1h'), [1, 2])
    assert.deepEqual(await get('until=1h'), [])
    assert.deepEqual(await get('since=0s'), [])
    assert.deepEqual(await get('since=2020-01-01T00:00:00%2B02:00&until=2020-01-01T00:00:00Z'), [])
  })

  test('type and subject are globs, of several one is enough', async () => {
    assert.deepEqual(await at('type=namespace.removed'), [4])
    assert.deepEqual(await at('type=*.created&type=nothing'), [1, 2, 3, 5])
    assert.deepEqual(await at('type=*'), [1, 2, 3, 4, 5])
    assert.deepEqual(await at('type=namespace'), [])
    assert.deepEqual(await at('subject=*/a'), [1, 4])
    assert.deepEqual(await at('subject=namespace/a&subject=*/c&type=*.created'), [1, 3])
  })

  test('namespace, actor, command, correlation and trace are filtered by the server', async () => {
    assert.deepEqual(await at('namespace=a'), [1, 4])
    assert.deepEqual(await all('', { 'purser-namespace': 'b' }), await all('namespace=b'))
    assert.deepEqual(await at('actor=unix:uid=1000,*'), [3])
    assert.deepEqual(await at('actor=*pid=1&actor=*exe=/bin/x'), [1, 2, 3])
    assert.deepEqual(await at(`command=${COMMAND}`), [1, 2, 3])
    assert.deepEqual(await at(`command=${OUTERMOST}`), [])
    assert.deepEqual(await at(`correlation=${OUTERMOST}&type=*.created&namespace=c`), [3])
    assert.deepEqual(await at(`trace=${TRACE}`), [3])
    assert.equal((await api.http('GET', '/v1/events?trace=f')).status, 400)
  })

  test('a position beyond the head of the log is of another log', async () => {
    for (const [query, headers] of [
      ['since=6', {}],
      ['until=6', {}],
      ['', { 'last-event-id': '999' }],
    ] as const) {
      const answer = await api.http('GET', `/v1/events?${query}`, undefined, headers)
      assert.equal(answer.status, 416)
      assert.match(answer.text, /out_of_range/)
    }
    const answer = await api.http('GET', '/v1/events', undefined, { 'last-event-id': 'x' })
    assert.match(answer.text, /"field":"Last-Event-ID"/)
  })

  test('what is followed has no end: until is refused', async () => {
    const answer = await api.http('GET', '/v1/events?follow=true&until=1m')
    assert.equal(answer.status, 400)
    assert.match(answer.text, /"field":"until"/)
  })

  test('history has what befell a subject and the commands that led to it, and nothing else', async () => {
    await using own = await startApi()
    for (const subject of ['h1', 'h2'])
      await own.http('POST', '/v1/commands', { type: 'namespace.create', subject }, { prefer: 'wait=5' })
    const answer = await own.http('GET', '/v1/history/namespace%2Fh1?namespace=h1')
    const { items } = z.strictObject({ items: z.array(stored) }).parse(answer.json)
    assert.deepEqual(items.map(({ type }) => type).sort(), [
      'command.accepted',
      'command.succeeded',
      'namespace.created',
    ])
    const newest = await own.http('GET', '/v1/history/h1?namespace=h1&limit=1')
    assert.deepEqual((newest.json as { items: unknown[] }).items, items.slice(-1))
    assert.deepEqual((await own.http('GET', '/v1/history/h1?namespace=h2')).json, { items: [] })
  })

  test('the schema of events tells of every type', async () => {
    const answer = await api.http('GET', '/v1/events/schema')
    assert.match(answer.text, /2020-12/)
    assert.match(answer.text, /namespace\.removed/)
  })
})

test('without since, a follower hears what comes from now on, and can resume before its first event', async () => {
  await using api = await startApi()
  await api.facts([created('before')])
  const items = read(await open(api.socketPath, '/v1/events?follow'))
  assert.deepEqual((await items.next()).value, { id: 1, type: 'message', data: undefined })
  await api.facts([created('after')])
  assert.equal((await items.next()).value?.id, 2)
  await items.return()
})

test('a follower that is cut off again and again while 10,000 events come misses none and sees none twice', async (t) => {
  await using api = await startApi()
  const count = 10_000
  const seen: number[] = []
  let cuts = 0
  const following = (async () => {
    let last = '0'
    while (seen.length < count) {
      const response = await open(api.socketPath, '/v1/events?follow=true&since=9999999', { 'last-event-id': last })
      assert.equal(response.statusCode, 200)
      const few = 1 + Math.floor(Math.random() * 2000)
      let got = 0
      for await (const { id, data } of read(response)) {
        last = String(id)
        if (data === undefined) continue
        seen.push(id)
        if (++got === few || seen.length === count) break
      }
      response.destroy()
      cuts++
    }
  })()
  for (let from = 0; from < count; from += 50) {
    await api.facts(Array.from({ length: 50 }, (_, index) => created(`n${from + index}`)))
  }
  await following
  t.diagnostic(`${cuts} connections`)
  assert.ok(cuts > 1)
  assert.deepEqual(
    seen,
    Array.from({ length: count }, (_, index) => index + 1),
  )
})

test('a log that cannot be read any more is an error at the end of the stream, with the position', async () => {
  await using api = await startApi()
  await api.facts([created('a')])
  api.redis.disconnect()
  const items = await Array.fromAsync(read(await open(api.socketPath, '/v1/events?since=0')))
  const last = items.at(-1)
  assert.equal(last?.type, 'error')
  assert.equal(last?.id, 0)
  const problem = problemSchema.parse(last?.data)
  assert.deepEqual([problem.code, problem.position], ['unavailable', 0])
  await api.redis.connect().catch(() => {}) // It may be at it by itself.
})

test('whoever has missed events that retention dropped is told so', async () => {
  await using api = await startApi()
  const sealed = api.log.sealed
  assert.ok(sealed)
  await api.facts(Array.from({ length: 10 }, (_, index) => created(`n${index}`)))
  await api.books.sealer.seal()
  await api.facts([created('last')])
  await api.books.sealer.seal()
  await api.books.archive.drop(10)
  await api.redis.xtrim(api.log.keys.events, 'MINID', '11-0')
  const first = sealed.first
  assert.ok(first > 1)
  const late = await api.http('GET', '/v1/events', undefined, { 'last-event-id': String(first - 2) })
  assert.equal(late.status, 416)
  assert.match(late.text, /have been dropped/)
  const intime = await open(api.socketPath, '/v1/events', { 'last-event-id': String(first - 1) })
  assert.deepEqual(await positions(intime, 1), [first])
  const anew = read(await open(api.socketPath, '/v1/events?since=0'))
  assert.equal((await anew.next()).value?.id, first - 1)
  await anew.return()
})
