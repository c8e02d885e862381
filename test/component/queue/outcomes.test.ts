import assert from 'node:assert/strict'
import { test } from 'node:test'
import { image } from '../../../src/commands/image.ts'
import { PurserError } from '../../../src/model/errors.ts'
import { resultOf } from '../../../src/queue/outcomes.ts'
import { defineTestHandler, startQueue } from '../../support/queue.ts'

const PULL = { type: 'image.pull', subject: 'alpine' } as const

test('all that wait for a command hear of its outcome, those that come late at once', async () => {
  const gate = Promise.withResolvers<void>()
  const handler = defineTestHandler(image, 'image.pull', async () => {
    await gate.promise
    return { facts: [], result: { n: 7 } }
  })
  await using queue = await startQueue({ handlers: [handler] })
  const part = await queue.start()
  await part.run()
  const accepted = await part.submit(PULL)
  const waiting = Array.from({ length: 50 }, () => part.ended(accepted))
  gate.resolve()
  for (const ended of await Promise.all(waiting)) assert.deepEqual(resultOf(ended), { n: 7 })
  const late = await part.outcomes.wait(accepted.namespace, accepted.id, AbortSignal.abort())
  assert.equal(late.status, 'succeeded', 'it has ended: nothing is waited for')
})

test('what a caller is told is in the log, and in what it reads next', async () => {
  const handler = defineTestHandler(image, 'image.pull', async () => ({ facts: [] }))
  await using queue = await startQueue({ handlers: [handler] })
  const part = await queue.start()
  await part.run()
  for (let i = 0; i < 20; i++) {
    const accepted = await part.submit(PULL)
    await part.ended(accepted)
    assert.ok(part.hasEnded(accepted))
    assert.ok((await part.typesOf(`command/${accepted.id}`)).includes('command.succeeded'))
  }
})

test('whoever gives up waiting stops nothing', async () => {
  const gate = Promise.withResolvers<void>()
  const handler = defineTestHandler(image, 'image.pull', async () => {
    await gate.promise
    return { facts: [] }
  })
  await using queue = await startQueue({ handlers: [handler] })
  const part = await queue.start()
  await part.run()
  const { id, namespace } = await part.submit(PULL)
  const impatient = new AbortController()
  const given = part.outcomes.wait(namespace, id, impatient.signal)
  const patient = part.ended({ id, namespace })
  impatient.abort(new Error('the client went away'))
  await assert.rejects(given, /the client went away/)
  gate.resolve()
  assert.equal((await patient).status, 'succeeded')
})

test('a command that is not known is not waited for', async () => {
  await using queue = await startQueue({ handlers: [] })
  const part = await queue.start()
  const { id } = await part.submit({ type: 'namespace.create', subject: 'a' })
  for (const [namespace, unknown] of [
    ['a', '01890000-0000-7000-8000-000000000000'],
    ['other', id],
  ] as const) {
    await assert.rejects(part.outcomes.wait(namespace, unknown, AbortSignal.timeout(20_000)), { code: 'not_found' })
  }
  assert.equal((await part.outcomes.wait('a', id, AbortSignal.timeout(20_000))).status, 'succeeded')
})

test('the outcome of a command that failed is thrown with its code, field and remedy', async () => {
  const body = { code: 'not_found', message: 'it is gone', remedy: 'look again', field: 'subject' } as const
  const handler = defineTestHandler(image, 'image.pull', async () => {
    throw PurserError.fromBody(body)
  })
  await using queue = await startQueue({ handlers: [handler] })
  const part = await queue.start()
  await part.run()
  const ended = await part.ended(await part.submit(PULL))
  assert.throws(
    () => resultOf(ended),
    (error) => {
      assert.ok(error instanceof PurserError)
      assert.deepEqual(error.toBody(), body)
      return true
    },
  )
})

test('a daemon that starts tells those who ask of commands that ended before', async () => {
  const handler = defineTestHandler(image, 'image.pull', async () => ({ facts: [], result: { n: 7 } }))
  await using queue = await startQueue({ handlers: [handler] })
  const earlier = await queue.start()
  await earlier.run()
  const accepted = await earlier.submit(PULL)
  await earlier.ended(accepted)
  await earlier.stop()
  assert.deepEqual(resultOf(await (await queue.start()).ended(accepted)), { n: 7 })
})
