import assert from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import fc from 'fast-check'
import { REBOOT } from '../../../src/commands/task.ts'
import type { StoredEvent } from '../../../src/model/event.ts'
import { BUCKET_TABLES, Buckets } from '../../../src/projections/sli/buckets.ts'
import { families, type Sample, seriesOf } from '../../../src/projections/sli/families.ts'
import { fold, type Memory } from '../../../src/projections/sli/fold.ts'
import { countBelow, quantile, type Slo, sloSchema } from '../../../src/projections/sli/objectives.ts'
import { reportOf } from '../../../src/projections/sli/report.ts'

const mapMemory = <T>(): Memory<T> => {
  const map = new Map<string, T>()
  return {
    get: (key) => map.get(key),
    set: (key, value) => void map.set(key, value),
    delete: (key) => void map.delete(key),
  }
}
const memories = () => ({ commands: mapMemory<never>(), tasks: mapMemory<never>(), jobs: mapMemory<never>() })

const TEN_HOURS = 10 * 3_600_000
const START = Date.parse('2026-01-01T00:00:00Z')

/** A story as events, a second apart. */
function story(...told: [type: string, subject: string, data: object, correlation?: string][]): StoredEvent[] {
  return told.map(([type, subject, data, correlationid = subject], index) => {
    const aggregate = type.slice(0, type.indexOf('.'))
    const time = new Date(START + index * 1000).toISOString()
    return {
      type,
      aggregate,
      subject: `${aggregate}/${subject}`,
      data,
      time,
      correlationid,
      namespace: 'default',
    } as StoredEvent
  })
}

function told(...args: Parameters<typeof story>): string[] {
  const remembered = memories()
  return story(...args).flatMap((event) =>
    fold(remembered, event).map(({ family, labels, value }) => `${seriesOf(family, ...labels)} = ${value}`),
  )
}

const accepted = (id: string, type: string, parent = id): [string, string, object] => [
  'command.accepted',
  id,
  { command: { id, type, correlationId: parent } },
]
const ok = { durationMs: 500 }
const failedWith = (code: string) => ({ error: { code, message: '' }, durationMs: 1 })

test('a start counts from the request until the process runs, apart where an image was pulled on the way', () => {
  assert.deepEqual(
    told(
      accepted('r', 'container.run'),
      ['command.started', 'r', { worker: 'saga' }],
      ['task.started', 'c1', {}, 'r'],
      ['task.exited', 'c1', { exitCode: 0, oomKills: 0 }],
      ['command.succeeded', 'r', ok],
    ),
    [
      'waits saga = 1',
      'exits clean = 1',
      'commands container.run succeeded = 1',
      'services saga = 0.5',
      'starts succeeded = 1',
      'startDuration present = 2',
      'imageUses hit = 1',
    ],
  )
  const pulled = told(
    accepted('r', 'container.run'),
    accepted('p', 'image.pull', 'r'),
    ['image.pulled', 'x', { cached: false, durationMs: 1500 }],
    ['command.succeeded', 'p', ok],
    ['task.started', 'c1', {}, 'r'],
    ['command.succeeded', 'r', ok],
  )
  assert.ok(pulled.includes('startDuration pulled = 4'))
  assert.ok(pulled.includes('imageUses miss = 1'))
  assert.ok(!pulled.includes('imageUses hit = 1'), 'it is counted with its pull')
})

test('a claim counts by whether a task was ready; one that is refused does not count', () => {
  assert.deepEqual(
    told(
      accepted('a', 'pool.claim'),
      ['command.succeeded', 'a', { result: { id: 'c1', start: 'warm' }, durationMs: 2 }],
      accepted('b', 'pool.claim'),
      ['command.succeeded', 'b', { result: { id: 'c2', start: 'cold' }, durationMs: 300 }],
      accepted('c', 'pool.claim'),
      ['command.failed', 'c', failedWith('resource_exhausted')],
      accepted('d', 'pool.claim'),
      ['command.failed', 'd', failedWith('not_found')],
    ).filter((line) => line.startsWith('claim')),
    ['claims warm = 1', 'claimDuration warm = 0.002', 'claims cold = 1', 'claimDuration cold = 0.3', 'claims none = 1'],
  )
})

test('whose fault a failure is decides whether it counts against the service', () => {
  for (const [code, outcome] of [
    ['not_found', 'refused'],
    ['invalid_argument', 'refused'],
    ['unavailable', 'failed'],
    ['internal', 'failed'],
    ['data_loss', 'failed'],
  ] as const)
    assert.ok(
      told(accepted('r', 'container.run'), ['command.failed', 'r', failedWith(code)]).includes(`starts ${outcome} = 1`),
      code,
    )
  assert.ok(told(accepted('r', 'container.run'), ['command.cancelled', 'r', ok]).includes('starts cancelled = 1'))
})

test('how a task ended: killed by request, crashed, out of memory, lost', () => {
  const ends = (exit: object, ...signals: number[]) =>
    told(
      ['task.created', 'c1', { stopSignal: 15 }],
      ...signals.map((signal): [string, string, object] => ['task.killing', 'c1', { signal }]),
      ['task.exited', 'c1', { oomKills: 0, ...exit }],
    )
  assert.deepEqual(ends({ exitCode: 0 }), ['exits clean = 1'])
  assert.deepEqual(ends({ exitCode: 1 }), ['exits crashed = 1'])
  assert.deepEqual(ends({ exitCode: 143 }), ['exits crashed = 1'], 'nobody asked for it')
  assert.deepEqual(ends({ exitCode: 143 }, 15), ['exits killed = 1'])
  assert.deepEqual(ends({ exitCode: 3 }, 15), ['exits killed = 1'], 'it may handle the signal in its own way')
  assert.deepEqual(ends({ exitCode: 3 }, 10), ['exits crashed = 1'], 'a signal that asks for something else')
  assert.deepEqual(ends({ exitCode: 137, reason: 'oom', oomKills: 2 }), ['exits oom = 1', 'ooms = 2'])
  assert.deepEqual(ends({ exitCode: 137, reason: 'lost: the shim died' }), ['exits lost = 1', 'shimLosses = 1'])
  assert.deepEqual(ends({ exitCode: 137, reason: `lost: ${REBOOT}` }), ['exits lost = 1'])
})

test('an OOM kill counts once, whether the daemon was told of it or found it at the exit', () => {
  assert.deepEqual(
    told(
      ['task.created', 'c1', { stopSignal: 15 }],
      ['task.oom', 'c1', {}],
      ['task.exited', 'c1', { exitCode: 137, reason: 'oom', oomKills: 1 }],
    ),
    ['ooms = 1', 'exits oom = 1'],
  )
})

test('a job counts by how long it waited and took; a step of it that fails is no crash', () => {
  const step = { attempt: 1, step: 0 }
  assert.deepEqual(
    told(
      ['job.submitted', 'j', {}],
      ['job.started', 'j', { attempt: 1 }],
      ['job.step-started', 'j', { ...step, container: 'j-1-1' }],
      ['task.created', 'j-1-1', { stopSignal: 15 }],
      ['task.exited', 'j-1-1', { exitCode: 1, oomKills: 0 }],
      ['job.step-ended', 'j', { ...step, outcome: 'failed' }],
      ['job.started', 'j', { attempt: 2 }],
      ['job.failed', 'j', { failure: { error: { code: 'failed_precondition', message: '' } } }],
      ['job.submitted', 'k', {}],
      ['job.cancelled', 'k', {}],
      ['job.submitted', 'l', {}],
      ['job.failed', 'l', { failure: { error: { code: 'unavailable', message: '' } } }],
      ['task.created', 'j-1-1', { stopSignal: 15 }],
      ['task.exited', 'j-1-1', { exitCode: 1, oomKills: 0 }],
    ),
    [
      'jobWaits = 1',
      'exits failed = 1',
      'jobs failed = 1',
      'jobDuration failed = 6',
      'jobs cancelled = 1',
      'jobs broken = 1',
      'exits crashed = 1',
    ],
  )
})

const openBuckets = () => {
  const db = new DatabaseSync(':memory:')
  db.exec(BUCKET_TABLES)
  return new Buckets(db)
}

test('counts of any time are the sum of those of its parts, minutes and hours alike', () => {
  const minute = fc.integer({ min: 0, max: 500 })
  fc.assert(
    fc.property(
      fc.array(fc.record({ at: minute, value: fc.double({ min: 0, max: 10, noNaN: true }) }), { maxLength: 60 }),
      fc.tuple(minute, minute, minute).map((three) => three.sort((a, b) => a - b)),
      (values, [a = 0, b = 0, c = 0]) => {
        const buckets = openBuckets()
        for (const { at, value } of values)
          buckets.add({ family: 'pullDuration', labels: ['cold'], value }, START + at * 60_000, 'default')
        const base = START / 1000
        const count = (from: number, to: number) =>
          buckets.between(base + from * 60, base + to * 60).get('pullDuration cold')?.count ?? 0
        assert.equal(count(a, b) + count(b, c), count(a, c))
        assert.equal(count(a, c), values.filter(({ at }) => at >= a && at < c).length)
        assert.equal(buckets.total().get('pullDuration cold')?.count ?? 0, values.length)
      },
    ),
    { numRuns: 60 },
  )
})

test('a quantile is within the bucket that holds it, and countBelow is its inverse', () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0.001, max: 1700, noNaN: true }), { minLength: 1, maxLength: 100 }),
      fc.double({ min: 0.01, max: 1, noNaN: true }),
      (values, share) => {
        const buckets = openBuckets()
        for (const value of values) buckets.add({ family: 'pullDuration', labels: ['cold'], value }, START, 'default')
        const totals = buckets.total().get('pullDuration cold') ?? assert.fail()
        const bound = quantile(totals, families.pullDuration, share)
        assert.ok(
          Math.abs(countBelow(totals, families.pullDuration, bound) - share * values.length) < 1e-6 * values.length,
        )
      },
    ),
  )
  assert.equal(quantile({ count: 4, sum: 0, buckets: [0, 4] }, { ...families.pullDuration, buckets: [1, 2] }, 0.5), 1.5)
})

test('a report: target, actual, what is left of the budget and how fast it is used up', () => {
  const slo: Slo = sloSchema.parse({ startSuccess: 0.9, shimLossesPerHour: 2 })
  const log = openBuckets()
  const at = START + TEN_HOURS
  const put = (sample: Sample, minutesAgo: number, times: number) => {
    for (let each = 0; each < times; each++) log.add(sample, at - minutesAgo * 60_000, 'default')
  }
  put({ family: 'starts', labels: ['succeeded'], value: 1 }, 120, 95)
  put({ family: 'starts', labels: ['failed'], value: 1 }, 120, 3)
  put({ family: 'starts', labels: ['failed'], value: 1 }, 2, 2)
  put({ family: 'starts', labels: ['refused'], value: 1 }, 2, 50)
  put({ family: 'shimLosses', labels: [], value: 1 }, 20, 2)
  const { items } = reportOf({ atMs: at, windowMs: TEN_HOURS }, { log, observed: openBuckets() }, slo)
  const of = (name: string) => items.find((item) => item.name === name) ?? assert.fail(name)
  const rounded = (value: number | null | undefined) => Number(value?.toFixed(6))
  const { unit, objective, target, actual, isMet, events, budgetLeft, burn } = of('container_start_success')
  assert.deepEqual([unit, objective, target, actual, isMet], ['ratio', 'at_least', 0.9, 0.95, true])
  assert.deepEqual(events, { total: 100, bad: 5 }, 'what was refused is the fault of who asked')
  assert.equal(rounded(budgetLeft), 0.5)
  assert.deepEqual(Object.values(burn ?? {}).map(rounded), [10, 10, 10, 0.5, 0.5])
  assert.deepEqual([of('shim_loss').actual, of('shim_loss').burn?.['1h']], [0.2, 1])
  assert.equal(of('crashes').actual, null, 'nothing ended')
  assert.equal(of('snapshot_errors').isMet, null)
})
