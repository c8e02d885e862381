import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pino } from 'pino'
import { z } from 'zod'
import { aggregates } from '../../../src/commands/index.ts'
import { request } from '../../../src/commands/request.ts'
import { rebuildState } from '../../../src/log/rebuild.ts'
import { type AnyAggregate, defineAggregate } from '../../../src/model/aggregate.ts'
import { type StoredEvent, spontaneous } from '../../../src/model/event.ts'
import { event } from '../../../src/model/event-schema.ts'
import { audit } from '../../../src/projections/audit/audit.ts'
import { ProjectionRunner } from '../../../src/projections/runner.ts'
import { type Release, startLog } from '../../support/log.ts'

const cause = spontaneous('test')

type BerthState = { status: 'absent' } | { status: 'taken'; guests: readonly string[] }
const absent = { status: 'absent' } as BerthState

/** One aggregate in three releases: `guest` became `guests` in the second, the third can also change them. */
const common = {
  name: 'berth',
  id: z.string(),
  initial: absent,
  commands: {},
  leadsTo: {},
  decide: () => [],
} as const
const first = defineAggregate({
  ...common,
  events: { 'berth.taken': event(1, 'somebody lies in it', z.strictObject({ guest: z.string() })) },
  evolve: (_state, { data }): BerthState => ({ status: 'taken', guests: [data.guest] }),
})
const taken = z.strictObject({ guests: z.array(z.string()) })
const guestsOfGuest = (data: Record<string, unknown>) => ({ guests: [data.guest] })
const second = defineAggregate({
  ...common,
  events: { 'berth.taken': event(2, 'some lie in it', taken, guestsOfGuest) },
  evolve: (_state, { data }): BerthState => ({ status: 'taken', guests: data.guests }),
})
const third = defineAggregate({
  ...common,
  events: {
    'berth.taken': event(3, 'some lie in it', taken.extend({ deck: z.int() }), guestsOfGuest, (data) => ({
      ...data,
      deck: 1,
    })),
    'berth.changed': event(1, 'others lie in it', taken),
  },
  evolve: (_state, { data }): BerthState => ({ status: 'taken', guests: data.guests }),
})
const cargo = defineAggregate({
  ...common,
  name: 'cargo',
  events: { 'cargo.stowed': event(1, 'it is aboard', z.strictObject({})) },
  evolve: (): BerthState => ({ status: 'taken', guests: [] }),
})
const release = (...more: AnyAggregate[]): Release =>
  new Map([...aggregates, ...more.map((each) => [each.name, each] as const)])

test('what an earlier release wrote is read in the shape of this one, and stays as it was written', async () => {
  await using books = await startLog({ release: release(first) })
  await books.log.record([first.fact('b1', 'berth.taken', { guest: 'ann' })], 'default', cause)
  const before = await books.redis.xrange(books.keys.events, '-', '+')

  const now = await books.open(release(third))
  const read = await eventsOf(now.read(0))
  assert.deepEqual(
    read.map(({ schema, data }) => ({ schema, data })),
    [{ schema: 3, data: { guests: ['ann'], deck: 1 } }],
  )
  await now.record([third.fact('b1', 'berth.changed', { guests: ['bob'] })], 'default', cause)
  const after = await books.redis.xrange(books.keys.events, '-', '+')
  assert.deepEqual(after.slice(0, 1), before)
  assert.equal((await rebuildState(now, books.redis, release(third), 'check')).differences.length, 0)
})

test('the state that an earlier release folded is what this one folds from its events', async () => {
  await using books = await startLog({ release: release(first) })
  await books.log.record([first.fact('b1', 'berth.taken', { guest: 'ann' })], 'default', cause)
  const now = await books.open(release(second))
  assert.deepEqual((await rebuildState(now, books.redis, release(second), 'check')).differences, [])
  assert.deepEqual(now.documents.get(second, 'default', 'b1'), { status: 'taken', guests: ['ann'] })
})

test('events that only a later release knows are kept and shown, and the rest of the log goes on', async () => {
  await using books = await startLog({ release: release(third, cargo) })
  const facts = [
    third.fact('b1', 'berth.taken', { guests: ['ann'], deck: 2 }), // a later version of a known type
    third.fact('b1', 'berth.changed', { guests: ['bob'] }), // an unknown type
    cargo.fact('c1', 'cargo.stowed', {}), // an unknown aggregate
  ]
  for (const fact of facts) await books.log.record([fact], 'default', cause)
  const written = await books.events()

  const earlier = await books.open(release(second))
  assert.deepEqual(await eventsOf(earlier.read(0)), written)
  const seen: StoredEvent[] = []
  const stop = new AbortController()
  const fact = second.fact('b2', 'berth.taken', { guests: ['eve'] })
  assert.equal(await earlier.record([fact], 'default', cause), 4)
  for await (const event of earlier.subscribe(0, stop.signal)) if (seen.push(event) === 4) stop.abort()
  assert.deepEqual(seen.slice(0, 3), written)
  assert.deepEqual(earlier.documents.get(second, 'default', 'b2'), { status: 'taken', guests: ['eve'] })

  const later = await books.open(release(third, cargo))
  assert.deepEqual((await eventsOf(later.read(0))).slice(0, 3), written)
  assert.equal(later.documents.read('cargo', 'default', 'c1').version, 3)
})

test('a fold that left out events of a later release says how many, and repairs nothing', async () => {
  await using books = await startLog({ release: release(third) })
  await books.log.record([third.fact('b1', 'berth.taken', { guests: ['ann'], deck: 2 })], 'default', cause)
  const stored = await books.redis.hgetall(books.keys.documents('berth'))
  const earlier = await books.open(release(second))
  assert.equal((await rebuildState(earlier, books.redis, release(second), 'check')).unknown, 1)
  await assert.rejects(rebuildState(earlier, books.redis, release(second), 'repair'), { code: 'failed_precondition' })
  assert.deepEqual(await books.redis.hgetall(books.keys.documents('berth')), stored)
})

test('a projection leaves out what only a later release knows, and goes on', async (t) => {
  const { 'request.read': read, ...others } = request.events
  const widened = read.data.extend({ bytes: z.int() })
  const later = defineAggregate({
    ...request,
    events: {
      ...others,
      'request.read': event(2, 'it also says how much', widened, (data) => ({ ...data, bytes: 0 })),
    },
  })
  await using books = await startLog({ release: release(later) })
  const asked = { surface: 'http', method: 'GET', target: '/v1/later', status: 200 }
  const id = '01890000-0000-7000-8000-000000000001'
  const fact = { aggregate: 'request', id, type: 'request.read', data: { ...asked, bytes: 7 } }
  await books.log.record([fact], 'default', cause)

  const log = await books.open(aggregates)
  const dir = await mkdtemp(join(tmpdir(), 'releases-'))
  t.after(() => rm(dir, { recursive: true }))
  const runner = await ProjectionRunner.start(audit, log, dir, pino({ level: 'silent' }))
  const known = request.fact(id.replace(/1$/, '2'), 'request.read', { ...asked, target: '/v1/now' })
  await log.record([known], 'default', cause)
  await runner.reaches(log.head, AbortSignal.timeout(10_000))
  const { items } = runner.store.page({ order: 'oldest', limit: 10 })
  assert.deepEqual(
    items.map(({ position, subject }) => ({ position, subject })),
    [{ position: 2, subject: '/v1/now' }],
  )
  assert.deepEqual([runner.status.status, runner.status.lag], ['running', 0])
  await runner.stop()
})

test('an event that names what every object has is unknown too', async () => {
  await using books = await startLog()
  for (const type of ['constructor', '__proto__', 'toString']) {
    const event: StoredEvent = { ...forged, type, subject: 'namespace/a', aggregate: 'namespace' }
    assert.equal(books.log.documents.knows(event), false, type)
  }
})

const forged: StoredEvent = {
  specversion: '1.0',
  id: '01890000-0000-7000-8000-000000000000',
  source: '/nodes/test',
  type: '',
  subject: '',
  time: '2026-01-01T00:00:00.000Z',
  namespace: 'a',
  aggregate: '',
  commandid: '',
  correlationid: '',
  actor: 'purser:test',
  schema: 1,
  data: {},
  position: 1,
}

async function eventsOf(events: AsyncIterable<StoredEvent>): Promise<StoredEvent[]> {
  return await Array.fromAsync(events)
}
