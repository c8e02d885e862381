import assert from 'node:assert/strict'
import { test } from 'node:test'
import { collection } from '../../../src/commands/collection.ts'
import { image } from '../../../src/commands/image.ts'
import { task } from '../../../src/commands/task.ts'
import { errorCodeOf } from '../../../src/model/errors.ts'
import { defineTestHandler, eventually, type Part, startQueue } from '../../support/queue.ts'

const pull = (subject: string, more = {}) => ({ type: 'image.pull', subject, ...more })
const COLLECT = { type: 'gc.collect', subject: 'node' } as const

/** Handlers that tell when they are called and wait until the test lets them go on. */
function gated() {
  const called: string[] = []
  const waiting = new Map<string, () => void>()
  const open = new Set<string>()
  const pass = (subject: string, signal: AbortSignal) =>
    new Promise<void>((resolve, reject) => {
      called.push(subject)
      if (open.has('*') || open.has(subject)) resolve()
      waiting.set(subject, resolve)
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    })
  return {
    called,
    handlers: [
      defineTestHandler(image, 'image.pull', async (job) => {
        const { id, signal } = job
        await job.append(image.fact(id, 'image.pulling', { platform: String(job.attempt) }))
        await pass(id, signal)
        return { facts: [] }
      }),
      defineTestHandler(collection, 'gc.collect', async (job) => {
        await pass(job.id, job.signal)
        return { facts: [] }
      }),
    ],
    release(subject: string) {
      open.add(subject)
      if (subject === '*') for (const resolve of waiting.values()) resolve()
      waiting.get(subject)?.()
    },
  }
}

const ALPINE = 'docker.io/library/alpine:latest'
const BUSYBOX = 'docker.io/library/busybox:latest'
const DEBIAN = 'docker.io/library/debian:latest'

const nameOf = (reference: string): string => reference.replace(/^.*\/(.*):.*$/, '$1')

const begins = (part: Part, subject: string) =>
  eventually(part, (event) => event.type === 'image.pulling' && event.subject === `image/${subject}`)

test('commands on one thing keep their order; on different things they run at the same time', async () => {
  const gate = gated()
  await using queue = await startQueue({ handlers: gate.handlers })
  const part = await queue.start()
  await part.run()
  const first = await part.submit(pull('alpine'))
  const second = await part.submit(pull('alpine'))
  const other = await part.submit(pull('busybox'))
  await Promise.all([begins(part, ALPINE), begins(part, BUSYBOX)])
  assert.deepEqual(gate.called.toSorted(), [ALPINE, BUSYBOX])
  assert.equal(part.status(second).status, 'accepted')
  gate.release(BUSYBOX)
  await part.ended(other)
  assert.equal(part.status(second).status, 'accepted', 'it waits for the first one')
  gate.release(ALPINE)
  await Promise.all([part.ended(first), part.ended(second)])
  const positions = (await part.events()).filter(({ type }) => /started|succeeded/.test(type))
  assert.deepEqual(
    positions.filter(({ commandid }) => commandid !== other.id).map(({ type, commandid }) => [type, commandid]),
    [
      ['command.started', first.id],
      ['command.succeeded', first.id],
      ['command.started', second.id],
      ['command.succeeded', second.id],
    ],
  )
})

test('the same id in two namespaces is two things', async () => {
  const gate = gated()
  await using queue = await startQueue({ handlers: gate.handlers })
  const part = await queue.start()
  await part.run()
  await part.submit(pull('alpine', { namespace: 'a' }))
  await part.submit(pull('alpine', { namespace: 'b' }))
  for (const namespace of ['a', 'b']) {
    await eventually(part, (event) => event.type === 'image.pulling' && event.namespace === namespace)
  }
  assert.equal(gate.called.length, 2)
  gate.release('*')
})

test('of commands that wait for a worker the most urgent is first, and of equal ones the oldest', async () => {
  const gate = gated()
  await using queue = await startQueue({ handlers: gate.handlers, concurrency: 1 })
  const part = await queue.start()
  await part.run()
  await part.submit(pull('alpine'))
  await begins(part, ALPINE)
  const waiting = []
  for (const [name, priority] of [
    ['usual', 100],
    ['late', 1000],
    ['usual2', 100],
    ['urgent', 1],
  ] as const) {
    waiting.push(await part.submit(pull(name, { priority })))
  }
  await waitingJobs(queue, 4)
  gate.release('*')
  for (const each of waiting) await part.ended(each)
  assert.deepEqual(gate.called.slice(1).map(nameOf), ['urgent', 'usual', 'usual2', 'late'])
})

test('a command whose worker is free begins in the append that accepts it, and is in no queue', async () => {
  const gate = gated()
  await using queue = await startQueue({ handlers: gate.handlers })
  const part = await queue.start()
  await part.run()
  const accepted = await part.submit(pull('alpine'))
  assert.equal(part.status(accepted).status, 'running')
  await begins(part, ALPINE)
  assert.equal(await jobsIn(queue), 0)
  gate.release('*')
  const ended = await part.ended(accepted)
  assert.deepEqual([ended.status, ended.attempts], ['succeeded', 1])
  const types = await part.typesOf(`command/${accepted.id}`)
  assert.deepEqual(types, ['command.accepted', 'command.started', 'command.succeeded'])
})

test('the most urgent command takes the next place, whatever the queue had given out before it came', async () => {
  const gate = gated()
  await using queue = await startQueue({ handlers: gate.handlers, concurrency: 4 })
  const part = await queue.start()
  await part.run()
  const all = []
  for (const name of ['a', 'b', 'c', 'd']) all.push(await part.submit(pull(name)))
  await waitFor(async () => gate.called.length === 4) // All places are taken, three of them by no job.
  for (const name of ['usual1', 'usual2', 'usual3', 'usual4']) all.push(await part.submit(pull(name)))
  await waitFor(async () => (await queue.bull.getActiveCount()) === 4) // Given out, and without a place.
  all.push(await part.submit(pull('urgent', { priority: 1 })))
  await waitFor(async () => (await jobsIn(queue)) === 6)
  for (const name of ['a', 'b', 'c']) {
    const before = gate.called.length
    gate.release(`docker.io/library/${name}:latest`)
    await waitFor(async () => gate.called.length > before)
  }
  assert.deepEqual(gate.called.slice(4).map(nameOf), ['urgent', 'usual1', 'usual2'])
  gate.release('*')
  for (const each of all) assert.equal((await part.ended(each)).status, 'succeeded')
  assert.equal(gate.called.length, 9)
  await jobsLeft(queue, 0)
})

test('of commands on one thing that come at the same time one begins, and the others follow', async () => {
  const gate = gated()
  gate.release('*')
  await using queue = await startQueue({ handlers: gate.handlers })
  const part = await queue.start()
  await part.run()
  const all = await Promise.all(Array.from({ length: 20 }, () => part.submit(pull('alpine'))))
  for (const each of all) assert.deepEqual((await part.ended(each)).attempts, 1)
  let under = 0
  for (const { type } of await part.events()) {
    if (type === 'command.started') under += 1
    if (type === 'command.succeeded') under -= 1
    assert.ok(under <= 1, 'two attempts at one thing at once')
  }
  assert.equal(gate.called.length, 20)
})

test('a command that could not be accepted holds no place', async () => {
  const gate = gated()
  gate.release('*')
  await using queue = await startQueue({ handlers: gate.handlers, concurrency: 2 })
  const part = await queue.start()
  await part.run()
  const once = await part.submit(pull('alpine', { idempotencyKey: 'k' }))
  await part.ended(once)
  for (let again = 0; again < 5; again++) {
    assert.equal((await part.submit(pull('alpine', { idempotencyKey: 'k' }))).duplicate, true)
  }
  const next = await part.submit(pull('busybox'))
  assert.equal(part.status(next).status, 'running', 'a place was free for it')
  await part.ended(next)
})

test('a job that Redis has lost is offered again', async () => {
  const gate = gated()
  await using queue = await startQueue({ handlers: gate.handlers, concurrency: 1, sweepMs: 100 })
  const part = await queue.start()
  await part.run()
  const blocking = await part.submit(pull('alpine'))
  await begins(part, ALPINE)
  const lost = await part.submit(pull('busybox'))
  await waitingJobs(queue, 1)
  await queue.bull.remove(lost.id)
  gate.release('*')
  assert.equal((await part.ended(lost)).status, 'succeeded')
  await part.ended(blocking)
  assert.equal(gate.called.filter((id) => id === BUSYBOX).length, 1)
})

test('all of the queue lost, every command still ends once', async () => {
  const gate = gated()
  await using queue = await startQueue({ handlers: gate.handlers, concurrency: 2, sweepMs: 100 })
  const part = await queue.start()
  await part.run()
  const all = await Promise.all(Array.from({ length: 30 }, (_, i) => part.submit(pull(`image${i}`))))
  await eventually(part, ({ type }) => type === 'image.pulling')
  for (const key of await queue.redis.keys(`${queue.server.keyPrefix}-queue*`)) await queue.redis.del(key)
  gate.release('*')
  for (const each of all) assert.equal((await part.ended(each)).status, 'succeeded')
  assert.equal((await part.events()).filter(({ type }) => type === 'command.succeeded').length, 30)
})

test('a job that is there twice is carried out once', async () => {
  const gate = gated()
  await using queue = await startQueue({ handlers: gate.handlers })
  const part = await queue.start()
  await part.run()
  const accepted = await part.submit(pull('alpine'))
  await begins(part, ALPINE)
  const again = { namespace: accepted.namespace, id: accepted.id }
  for (const jobId of ['copy1', 'copy2']) await queue.bull.add('image.pull', again, { jobId, removeOnComplete: true })
  // A copy is done with when it has left the queue; the attempt is still under way, and was never in it.
  await jobsLeft(queue, 0)
  gate.release('*')
  await part.ended(accepted)
  await queue.bull.add('image.pull', again, { jobId: 'copy3', removeOnComplete: true })
  await jobsLeft(queue, 0)
  assert.deepEqual(gate.called, [ALPINE])
  assert.equal((await part.typesOf(`command/${accepted.id}`)).filter((type) => type === 'command.started').length, 1)
})

test('a job of a command that is not in the log does nothing', async () => {
  const gate = gated()
  await using queue = await startQueue({ handlers: gate.handlers })
  const part = await queue.start()
  await part.run()
  const unknown = { namespace: 'default', id: '01890000-0000-7000-8000-000000000000' }
  await queue.bull.add('image.pull', unknown, { jobId: 'forged', removeOnComplete: true })
  await jobsLeft(queue, 0)
  assert.deepEqual(gate.called, [])
  assert.deepEqual(await part.events(), [])
})

test('what has ended leaves nothing in the queue', async () => {
  const gate = gated()
  gate.release('*')
  const fails = defineTestHandler(task, 'task.pause', async () => {
    throw new Error('it cannot be')
  })
  await using queue = await startQueue({ handlers: [...gate.handlers, fails] })
  const part = await queue.start()
  await part.run()
  const all = await Promise.all(
    Array.from({ length: 60 }, (_, i) =>
      part.submit(i % 2 === 0 ? pull(`image${i}`) : { type: 'task.pause', subject: `c${i}` }),
    ),
  )
  for (const each of all) await part.ended(each)
  await jobsLeft(queue, 0)
  const counts = await queue.bull.getJobCounts()
  assert.deepEqual(
    Object.values(counts).filter((count) => count !== 0),
    [],
    JSON.stringify(counts),
  )
  assert.equal(part.relay.depth().get('work'), 0)
})

test('commands on one thing are in the queue one at a time', async () => {
  const gate = gated()
  await using queue = await startQueue({ handlers: gate.handlers, concurrency: 1 })
  const part = await queue.start()
  await part.run()
  const all = []
  for (let i = 0; i < 50; i++) all.push(await part.submit(COLLECT))
  assert.equal(part.relay.depth().get('work'), 50)
  await waitFor(async () => gate.called.length === 1)
  assert.equal(await jobsIn(queue), 1)
  gate.release('*')
  for (const each of all) await part.ended(each)
  assert.equal(gate.called.length, 50)
})

test('a deadline ends a command that waits and one that runs, and no other', async () => {
  const gate = gated()
  await using queue = await startQueue({ handlers: gate.handlers, concurrency: 1 })
  const part = await queue.start()
  await part.run()
  const deadline = new Date(Date.now() + 400).toISOString()
  const runs = await part.submit(pull('alpine', { deadline }))
  await begins(part, ALPINE)
  const waits = await part.submit(pull('busybox', { deadline }))
  const patient = await part.submit(pull('debian'))
  for (const each of [runs, waits]) {
    const ended = await part.ended(each)
    assert.ok(ended.status === 'failed' && ended.error.code === 'deadline_exceeded')
    assert.ok(Date.parse(ended.endedAt) >= Date.parse(deadline))
  }
  await begins(part, DEBIAN)
  gate.release(DEBIAN)
  assert.equal((await part.ended(patient)).status, 'succeeded')
  assert.deepEqual(gate.called, [ALPINE, DEBIAN])
})

test('a daemon that starts takes up what an earlier one had accepted, in order', async () => {
  const gate = gated()
  await using queue = await startQueue({ handlers: gate.handlers })
  const earlier = await queue.start()
  await earlier.run()
  const running = await earlier.submit(pull('alpine'))
  await begins(earlier, ALPINE)
  const second = await earlier.submit(pull('alpine'))
  const cancelled = await earlier.submit(pull('alpine'))
  await earlier.harness.stop()
  await earlier.submit({ type: 'command.cancel', subject: cancelled.id })
  await earlier.stop()

  const later = await queue.start()
  assert.deepEqual([later.status(running).status, later.status(second).status], ['running', 'accepted'])
  gate.release('*')
  await later.run()
  assert.equal((await later.ended(running)).attempts, 2)
  assert.equal((await later.ended(second)).attempts, 1)
  assert.equal((await later.ended(cancelled)).status, 'cancelled')
  const starts = (await later.events()).filter(({ type }) => type === 'command.started')
  assert.deepEqual(
    starts.map(({ commandid }) => commandid),
    [running.id, running.id, second.id],
  )
})

test('connections that break are made anew, and what was asked for again is done once', async () => {
  const gate = gated()
  gate.release('*')
  await using queue = await startQueue({ handlers: gate.handlers, sweepMs: 100 })
  const part = await queue.start()
  await part.run()
  const all: { id: string; namespace: string }[] = []
  for (let i = 0; i < 30; i++) {
    // Without an answer a client asks again, with the same key.
    const request = pull(`image${i}`, { idempotencyKey: `k${i}` })
    const breaking = i % 3 === 0 ? breakConnections(queue) : undefined
    await waitFor(async () => {
      const accepted = await part.submit(request).catch((error) => {
        assert.equal(errorCodeOf(error), 'unavailable')
        return undefined
      })
      if (accepted) all.push(accepted)
      return accepted !== undefined
    })
    await breaking
  }
  for (const each of all) assert.equal((await part.ended(each)).status, 'succeeded')
  const events = await part.events()
  assert.equal(events.filter(({ type }) => type === 'command.accepted').length, 30)
  assert.equal(events.filter(({ type }) => type === 'command.succeeded').length, 30)
})

const breakConnections = ({ redis }: Queue) => redis.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')

type Queue = Awaited<ReturnType<typeof startQueue>>

async function jobsIn({ bull }: Queue): Promise<number> {
  const counts = await bull.getJobCounts('waiting', 'active', 'prioritized', 'delayed')
  return Object.values(counts).reduce((sum, count) => sum + count, 0)
}

const jobsLeft = (queue: Queue, count: number) => waitFor(async () => (await jobsIn(queue)) === count)

const waitingJobs = (queue: Queue, count: number) =>
  waitFor(async () => (await queue.bull.getJobCountByTypes('waiting', 'prioritized')) === count)

/** For what no event tells of; fails after 10 s. */
async function waitFor(holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!(await holds())) {
    assert.ok(Date.now() < deadline, 'it did not come to be within 10 s')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
