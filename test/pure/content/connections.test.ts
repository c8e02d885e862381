import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { Bandwidth } from '../../../src/content/bandwidth.ts'
import { Connections } from '../../../src/content/connections.ts'

const { signal } = new AbortController()

test('no more connections than allowed; the most urgent comes next, and of equals who came first', async () => {
  const connections = new Connections(1)
  const order: string[] = []
  const use = async (name: string, priority: number) => {
    using _ = await connections.acquire(() => priority, signal)
    assert.equal(connections.inUse, 1)
    order.push(name)
    await turn()
  }
  await Promise.all([use('first', 100), use('equal', 100), use('late', 1000), use('also equal', 100), use('urgent', 1)])
  assert.deepEqual(order, ['first', 'urgent', 'equal', 'also equal', 'late'])
  assert.equal(connections.inUse, 0)
})

test('who is least urgent is asked to leave for somebody more urgent, and nobody for an equal', async () => {
  const connections = new Connections(2)
  const normal = await connections.acquire(() => 100, signal)
  const prefetch = await connections.acquire(() => 1000, signal)
  const equal = connections.acquire(() => 1000.5, signal)
  assert.deepEqual([normal.wanted.aborted, prefetch.wanted.aborted], [false, false])
  const urgent = connections.acquire(() => 100, signal)
  assert.deepEqual([normal.wanted.aborted, prefetch.wanted.aborted], [false, true])
  prefetch[Symbol.dispose]()
  const taken = await urgent
  assert.equal(connections.waiting, 1)
  taken[Symbol.dispose]()
  ;(await equal)[Symbol.dispose]()
  normal[Symbol.dispose]()
})

test('one that becomes more urgent while it waits displaces others from then on', async () => {
  const connections = new Connections(1)
  const holder = await connections.acquire(() => 100, signal)
  let priority = 1000
  const waiting = connections.acquire(() => priority, signal)
  assert.equal(holder.wanted.aborted, false)
  priority = 1
  connections.reconsider()
  assert.equal(holder.wanted.aborted, true)
  holder[Symbol.dispose]()
  ;(await waiting)[Symbol.dispose]()
})

test('who no longer waits gets nothing', async () => {
  const connections = new Connections(1)
  const holder = await connections.acquire(() => 1, signal)
  const stop = new AbortController()
  const waiting = connections.acquire(() => 1, stop.signal)
  stop.abort(new Error('enough'))
  await assert.rejects(waiting, /enough/)
  await assert.rejects(
    connections.acquire(() => 1, stop.signal),
    /enough/,
  )
  holder[Symbol.dispose]()
  assert.deepEqual([connections.inUse, connections.waiting], [0, 0])
})

test('bytes come no faster than allowed, and the most urgent go first', async () => {
  const bandwidth = new Bandwidth(1_000_000)
  const begunAt = performance.now()
  const order: string[] = []
  const take = async (name: string, priority: number, bytes = 100_000) => {
    await bandwidth.take(bytes, () => priority, signal)
    order.push(name)
  }
  await Promise.all([take('saved up', 100, 150_000), take('late', 1000), take('normal', 100), take('urgent', 1)])
  assert.deepEqual(order, ['saved up', 'urgent', 'normal', 'late'])
  // 100 kB were saved up; the last may go when those before it are paid for.
  assert.ok(performance.now() - begunAt >= 240, `it took ${performance.now() - begunAt} ms`)
})

test('without a bound nothing is waited for', () => {
  assert.equal(
    new Bandwidth(Number.POSITIVE_INFINITY).take(2 ** 40, () => 1, signal),
    undefined,
  )
})
