import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pino } from 'pino'
import { job, jobs } from '../../../src/commands/job.ts'
import { jobSpec } from '../../../src/commands/job-spec.ts'
import { mapLimited, whileWanted } from '../../../src/model/concurrency.ts'
import { spontaneous } from '../../../src/model/event.ts'
import { uuidv7 } from '../../../src/model/ids.ts'
import { JobScheduler } from '../../../src/sagas/jobs/scheduler.ts'
import { defineTestHandler, eventually, type Part, startQueue } from '../../support/queue.ts'

const PLACES = 4
const JOBS = 10_000

/** Jobs that wait until the test lets them end. */
function startable() {
  const begun: string[] = []
  const { promise: open, resolve: release } = Promise.withResolvers<void>()
  const run = defineTestHandler(job, 'job.run', async ({ id, namespace, view, payload, append, signal }) => {
    if (view.get(jobs, namespace, id).status === 'queued') await append(job.fact(id, 'job.started', payload))
    begun.push(namespace)
    await whileWanted(open, signal)
    return { facts: [job.fact(id, 'job.succeeded', {})] }
  })
  return { begun, release, run }
}

const scheduler = (part: Part, keepMs = 3_600_000) =>
  new JobScheduler({
    log: part.log,
    intake: part.intake,
    places: PLACES,
    weights: {},
    keepMs,
    logger: pino({ level: 'silent' }),
  })

const SPEC = jobSpec.parse({ steps: [{ name: 'a', image: 'alpine', entrypoint: ['true'] }] })

/** A job in the log, as its submission leaves it. */
async function submitted(part: Part, namespace: string, id: string): Promise<void> {
  const commandId = uuidv7()
  const cause = { commandId, correlationId: commandId, actor: 'unix:uid=0' }
  await part.log.record([job.fact(id, 'job.submitted', { spec: SPEC, submittedBy: cause.actor })], namespace, cause)
}

/** Resolves when it holds after some event to come. */
async function until(part: Part, holds: () => boolean): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  using _ = part.log.listen(() => holds() && resolve())
  if (!holds()) await whileWanted(promise, AbortSignal.timeout(20_000))
}

test('ten thousand jobs wait as documents alone, over a restart too, and namespaces take turns', async (t) => {
  const { begun, release, run } = startable()
  await using queue = await startQueue({ handlers: [run], concurrency: 64 })
  const first = await queue.start()
  await first.run()
  const before = scheduler(first)
  const numbers = Array.from({ length: JOBS }, (_, index) => index)
  // One namespace has submitted nearly all, when the others come.
  await mapLimited(numbers, 64, AbortSignal.timeout(60_000), async (n) => {
    await submitted(first, n < JOBS - 40 ? 'crowd' : n % 2 === 0 ? 'few' : 'other', `j${n}`)
  })
  await until(first, () => begun.length === PLACES)
  assert.deepEqual(before.depth, { waiting: JOBS - PLACES, running: PLACES })
  assert.equal(first.relay.depth().get('work'), PLACES, 'only those that run are commands')
  assert.equal(await queue.bull.count(), 0, 'and none of them is in a queue')
  before[Symbol.dispose]()
  await first.stop()

  const second = await queue.start()
  const loadedAt = performance.now()
  using after = scheduler(second)
  const indexMs = performance.now() - loadedAt
  assert.deepEqual(after.depth, { waiting: JOBS - PLACES, running: PLACES })
  begun.length = 0
  await second.run()
  release()
  await until(second, () => begun.length >= PLACES + 60)
  const served = begun.slice(PLACES, PLACES + 60)
  for (const namespace of ['few', 'other']) {
    assert.equal(served.filter((each) => each === namespace).length, 20, `${namespace} of ${served.join(' ')}`)
  }
  t.diagnostic(`${Math.round(indexMs)} ms to take them up`)
  assert.ok(indexMs < 2000)
})

test('a job whose command ended without a word is taken up again; one that never began is cancelled', async () => {
  let attempts = 0
  const broken = defineTestHandler(job, 'job.run', async ({ id, state, payload, append }) => {
    attempts += 1
    if (id === 'never') throw new Error('it never began')
    if (state.status === 'queued') await append(job.fact(id, 'job.started', payload))
    if (attempts === 1) throw new Error('it broke off')
    return { facts: [job.fact(id, 'job.succeeded', {})] }
  })
  await using queue = await startQueue({ handlers: [broken] })
  const part = await queue.start()
  await part.run()
  using _ = scheduler(part)
  await part.submit({ type: 'job.submit', subject: 'breaks', payload: SPEC })
  await eventually(part, ({ type }) => type === 'job.succeeded')
  await part.submit({ type: 'job.submit', subject: 'never', payload: SPEC })
  const { data } = await eventually(part, ({ type }) => type === 'job.cancelled')
  assert.equal(data.reason, 'it never began')
})

test('jobs that ended long ago are removed, those that have not are not', async () => {
  const remove = defineTestHandler(job, 'job.remove', async ({ id, decide, append }) => {
    await append(...decide())
    return { facts: [job.fact(id, 'job.removed', {})] }
  })
  await using queue = await startQueue({ handlers: [remove] })
  const part = await queue.start()
  await part.run()
  for (const id of ['waits', 'ended']) await submitted(part, 'default', id)
  await part.log.record([job.fact('ended', 'job.cancelled', { reason: 'r' })], 'default', spontaneous('test'))
  using kept = scheduler(part, 3_600_000)
  assert.equal(part.relay.depth().get('work'), 0, 'it is kept for an hour')
  kept[Symbol.dispose]()
  using _ = scheduler(part, -1)
  await until(part, () => part.log.documents.get(jobs, 'default', 'ended').status === 'absent')
  assert.deepEqual(
    [...part.log.documents.list(jobs)].map(({ id }) => id),
    ['waits'],
  )
})
