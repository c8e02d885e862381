import assert from 'node:assert/strict'
import { test } from 'node:test'
import { namespace } from '../../../src/commands/namespace.ts'
import { spontaneous } from '../../../src/model/event.ts'
import { Changes } from '../../../src/queue/changes.ts'
import { startLog } from '../../support/log.ts'

const of = (id: string) => ({ aggregate: namespace.name, namespace: id, id })

test('who waits for a state looks when something happens to that instance, and at no other time', async () => {
  await using at = await startLog()
  const changes = new Changes(at.log)
  const create = (id: string) =>
    at.log.record([namespace.fact(id, 'namespace.created', { labels: {} })], id, spontaneous('test'))
  const isThere = (id: string) => at.log.documents.get(namespace, id, id).status === 'present'
  let looks = 0
  const arrives = changes.until(of('a'), () => ++looks > 0 && isThere('a'), AbortSignal.timeout(20_000))
  assert.equal(looks, 1, 'at first, in case that it holds already')
  for (const other of ['b', 'c', 'ab']) await create(other)
  assert.equal(looks, 1)
  await create('a')
  await arrives
  assert.equal(looks, 2)
  await changes.until(of('a'), () => isThere('a'), AbortSignal.abort()) // What holds is not waited for.
})

test('who waits no longer is told why', async () => {
  await using at = await startLog()
  const changes = new Changes(at.log)
  const left = new AbortController()
  const waiting = changes.until(of('a'), () => false, left.signal)
  left.abort(new Error('it left'))
  await assert.rejects(waiting, /it left/)
  await assert.rejects(
    changes.until(of('a'), () => false, left.signal),
    /it left/,
  )
})
