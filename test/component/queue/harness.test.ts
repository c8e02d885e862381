import assert from 'node:assert/strict'
import { test } from 'node:test'
import { container } from '../../../src/commands/container.ts'
import { image } from '../../../src/commands/image.ts'
import { namespace } from '../../../src/commands/namespace.ts'
import { PurserError } from '../../../src/model/errors.ts'
import { spontaneous } from '../../../src/model/event.ts'
import { defineTestHandler, eventually, type Part, startQueue } from '../../support/queue.ts'

const PULL = { type: 'image.pull', subject: 'alpine' } as const
const ALPINE = 'docker.io/library/alpine:latest'
const pulling = (platform: string) => image.fact(ALPINE, 'image.pulling', { platform })
const never = (): AbortSignal => new AbortController().signal

/** Something that a test waits for and lets happen. */
const gate = () => Promise.withResolvers<void>()

const outcomesIn = async (part: Part): Promise<string[]> =>
  (await part.events()).map(({ type }) => type).filter((type) => /^command\.(succeeded|failed|cancelled)$/.test(type))

const platformsIn = async (part: Part): Promise<unknown[]> =>
  (await part.events()).flatMap(({ type, data }) => (type === 'image.pulling' ? [data.platform] : []))

test('the facts of a handler and the outcome of its command are one append', async () => {
  const handler = defineTestHandler(image, 'image.pull', async () => ({ facts: [pulling('done')], result: { n: 1 } }))
  await using queue = await startQueue({ handlers: [handler] })
  const part = await queue.start()
  await part.run()
  const ended = await part.ended(await part.submit(PULL))
  assert.ok(ended.status === 'succeeded')
  assert.deepEqual(ended.result, { n: 1 })
  const [fact, outcome] = (await part.events()).slice(-2)
  assert.deepEqual([fact?.type, outcome?.type], ['image.pulling', 'command.succeeded'])
  assert.equal(fact?.time, outcome?.time)
  assert.equal(outcome?.position, (fact?.position ?? 0) + 1)
})

test('a handler that throws fails its command with what it threw, after undoing what it did', async () => {
  const undone: string[] = []
  const thrown: Record<string, unknown> = {
    own: new PurserError('data_loss', 'the bytes are others', { remedy: 'pull again', field: 'payload.x' }),
    full: Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' }),
    strange: new TypeError('x is not a function'),
    text: 'a word',
  }
  const handler = defineTestHandler(image, 'image.pull', async (job) => {
    await using undo = job.undoStack()
    for (const each of ['a', 'b', 'c']) undo.defer(() => void undone.push(each))
    await job.append(pulling('intent'))
    throw thrown[job.payload.labels.case ?? '']
  })
  await using queue = await startQueue({ handlers: [handler] })
  const part = await queue.start()
  await part.run()
  const codes: Record<string, string> = {}
  for (const each of Object.keys(thrown)) {
    const ended = await part.ended(await part.submit({ ...PULL, payload: { labels: { case: each } } }))
    assert.ok(ended.status === 'failed')
    codes[each] = ended.error.code
    if (each === 'own') {
      assert.deepEqual(ended.error, {
        code: 'data_loss',
        message: 'the bytes are others',
        remedy: 'pull again',
        field: 'payload.x',
      })
    }
    assert.deepEqual(undone.splice(0), ['c', 'b', 'a'])
  }
  assert.deepEqual(codes, { own: 'data_loss', full: 'resource_exhausted', strange: 'internal', text: 'internal' })
})

test('a command that nothing carries out fails, and says so', async () => {
  const handler = defineTestHandler(image, 'image.pull', async () => ({ facts: [] }))
  await using queue = await startQueue({ handlers: [handler] })
  const part = await queue.start()
  const accepted = await part.submit(PULL)
  await part.harnessOn([]).attempt(accepted.namespace, accepted.id, 'work', never())
  const ended = await part.ended(accepted)
  assert.ok(ended.status === 'failed' && ended.error.code === 'unimplemented')
})

test('an attempt that was overtaken can write nothing: no fact, no outcome, and it undoes nothing', async () => {
  const [begun, overtaken] = [gate(), gate()]
  const refused: string[] = []
  const undone: string[] = []
  const slow = defineTestHandler(image, 'image.pull', async (job) => {
    await using undo = job.undoStack()
    undo.defer(() => void undone.push('slow'))
    begun.resolve()
    await overtaken.promise
    for (const [name, write] of Object.entries({
      append: () => job.append(pulling('slow')),
      appendIf: () => job.appendIf(0, pulling('slow')),
    })) {
      await write().catch(() => refused.push(name))
    }
    return { facts: [pulling('slow')] }
  })
  const quick = defineTestHandler(image, 'image.pull', async () => ({ facts: [pulling('quick')] }))
  await using queue = await startQueue({ handlers: [slow] })
  const part = await queue.start()
  const accepted = await part.submit(PULL)
  const first = part.harness.attempt(accepted.namespace, accepted.id, 'work', never())
  await begun.promise
  await part.harnessOn([quick]).attempt(accepted.namespace, accepted.id, 'work', never())
  overtaken.resolve()
  await assert.rejects(first)
  assert.deepEqual(refused, ['append', 'appendIf'])
  assert.deepEqual(undone, [])
  assert.deepEqual(await platformsIn(part), ['quick'])
  assert.deepEqual(await outcomesIn(part), ['command.succeeded'])
})

test('an attempt whose lock is lost stops without an outcome; the next one goes on', async () => {
  const undone: string[] = []
  const handler = defineTestHandler(image, 'image.pull', async (job) => {
    await using undo = job.undoStack()
    undo.defer(() => void undone.push(String(job.attempt)))
    await job.append(pulling(String(job.attempt)))
    if (job.attempt === 1) await job.until(() => false, job.signal)
    undo.move()
    return { facts: [] }
  })
  await using queue = await startQueue({ handlers: [handler] })
  const part = await queue.start()
  const accepted = await part.submit(PULL)
  const lost = new AbortController()
  const first = part.harness.attempt(accepted.namespace, accepted.id, 'work', lost.signal)
  await eventually(part, ({ type }) => type === 'image.pulling')
  lost.abort(new Error('the queue gave the job to somebody else'))
  await first
  assert.deepEqual([await outcomesIn(part), undone], [[], []])
  await part.harness.attempt(accepted.namespace, accepted.id, 'work', never())
  assert.equal((await part.ended(accepted)).attempts, 2)
})

test('a daemon that was superseded ends no command', async () => {
  const [begun, superseded] = [gate(), gate()]
  let attempts = 0
  const handler = defineTestHandler(image, 'image.pull', async () => {
    if (++attempts === 1) {
      begun.resolve()
      await superseded.promise
    }
    return { facts: [pulling(String(attempts))] }
  })
  await using queue = await startQueue({ handlers: [handler] })
  const earlier = await queue.start()
  const accepted = await earlier.submit(PULL)
  const first = earlier.harness.attempt(accepted.namespace, accepted.id, 'work', never())
  await begun.promise
  const later = await queue.start()
  await assert.rejects(earlier.submit(PULL), { code: 'aborted' })
  superseded.resolve()
  await assert.rejects(first)
  assert.deepEqual(await outcomesIn(later), [])
  await later.run()
  assert.equal((await later.ended(accepted)).attempts, 2)
  assert.deepEqual(await platformsIn(later), ['2'])
})

test('a command that has ended is not attempted again', async () => {
  let called = 0
  const handler = defineTestHandler(image, 'image.pull', async () => {
    called += 1
    return { facts: [] }
  })
  await using queue = await startQueue({ handlers: [handler] })
  const part = await queue.start()
  const accepted = await part.submit(PULL)
  for (let i = 0; i < 3; i++) await part.harness.attempt(accepted.namespace, accepted.id, 'work', never())
  const twice = await part.submit(PULL)
  await Promise.all([1, 2, 3].map(() => part.harness.attempt(twice.namespace, twice.id, 'work', never())))
  assert.equal(called, 2)
  assert.deepEqual(await outcomesIn(part), ['command.succeeded', 'command.succeeded'])
})

test('facts are written whatever came between; a fact on a condition only when nothing did', async () => {
  const written: boolean[] = []
  const handler = defineTestHandler(image, 'image.pull', async (job) => {
    const before = job.view.list(namespace, 'default')
    const version = [...before][0]?.version ?? 0
    const labels = (value: string) => namespace.fact('default', 'namespace.created', { labels: { value } })
    await part.log.record([labels('other')], 'default', spontaneous('other'))
    written.push(await job.appendIf(version, labels('conditional')))
    await job.append(labels('whatever'))
    return { facts: [labels('last')] }
  })
  await using queue = await startQueue({ handlers: [handler] })
  const part: Part = await queue.start()
  await part.run()
  await part.ended(await part.submit(PULL))
  assert.deepEqual(written, [false])
  const values = (await part.events()).flatMap(({ type, data }) => (type === 'namespace.created' ? [data.labels] : []))
  assert.deepEqual(values, [{}, { value: 'other' }, { value: 'whatever' }, { value: 'last' }])
})

test('a step is a command of its own, and after a restart it is the same one', async () => {
  const reached = gate()
  const saga = (upTo: 'first' | 'end') =>
    defineTestHandler(container, 'container.run', async (job) => {
      const { id, correlation } = await job.step('pull', { type: 'image.pull', subject: 'alpine' })
      assert.ok(id !== undefined && correlation === job.command.id)
      if (upTo === 'first') {
        reached.resolve()
        await job.until(() => false, job.signal)
      }
      return { facts: [], result: { pulledBy: id } }
    })
  const pull = defineTestHandler(image, 'image.pull', async ({ command: { id, correlationId } }) => ({
    facts: [],
    result: { id, correlation: correlationId },
  }))
  await using queue = await startQueue({ handlers: [pull, saga('first')] })
  const earlier = await queue.start()
  await earlier.run()
  const run = await earlier.submit({ type: 'container.run', subject: 'c1', priority: 7, payload: { image: 'alpine' } })
  await reached.promise
  await earlier.stop()
  const later = await queue.start({ handlers: [pull, saga('end')] })
  await later.run()
  const ended = await later.ended(run)
  assert.ok(ended.status === 'succeeded')
  const accepted = (await later.events()).filter(({ type }) => type === 'command.accepted')
  assert.equal(accepted.length, 2, 'the pull was asked for once')
  const step = accepted[1]
  assert.equal(ended.result.pulledBy, step?.subject.slice('command/'.length))
  assert.equal(step?.correlationid, run.id)
  const { command } = (step?.data ?? {}) as { command?: Record<string, unknown> }
  assert.deepEqual([command?.parentId, command?.priority], [run.id, 7])
})

test('a composite command whose step fails fails with the reason of the step', async () => {
  const saga = defineTestHandler(container, 'container.run', async (job) => {
    await job.step('pull', { type: 'image.pull', subject: 'alpine' })
    return { facts: [] }
  })
  const pull = defineTestHandler(image, 'image.pull', async () => {
    throw new PurserError('not_found', 'there is no such image', { remedy: 'look at the name' })
  })
  await using queue = await startQueue({ handlers: [pull, saga] })
  const part = await queue.start()
  await part.run()
  const ended = await part.ended(
    await part.submit({ type: 'container.run', subject: 'c1', payload: { image: 'alpine' } }),
  )
  assert.ok(ended.status === 'failed')
  assert.deepEqual(ended.error, { code: 'not_found', message: 'there is no such image', remedy: 'look at the name' })
})

test('a composite command that is cancelled has its step cancelled', async () => {
  const saga = defineTestHandler(container, 'container.run', async (job) => {
    await job.step('pull', { type: 'image.pull', subject: 'alpine' })
    return { facts: [] }
  })
  const pull = defineTestHandler(image, 'image.pull', async (job) => {
    await job.append(pulling('begun'))
    await job.until(() => false, job.signal)
    return { facts: [] }
  })
  await using queue = await startQueue({ handlers: [pull, saga] })
  const part = await queue.start()
  await part.run()
  const run = await part.submit({ type: 'container.run', subject: 'c1', payload: { image: 'alpine' } })
  await eventually(part, ({ type }) => type === 'image.pulling')
  await part.submit({ type: 'command.cancel', subject: run.id })
  assert.equal((await part.ended(run)).status, 'cancelled')
  const ends = (await part.events()).filter(({ type }) => type === 'command.cancelled')
  assert.deepEqual(
    ends.map(({ correlationid }) => correlationid),
    [run.id, run.id],
  )
})
