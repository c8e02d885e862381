import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { PurserError } from '../../../src/model/errors.ts'
import { CircuitBreaker } from '../../../src/shim/circuit-breaker.ts'
import { Task } from '../../../src/shim/gen/task_pb.ts'
import type { TaskClient } from '../../../src/shim/task-client.ts'

type Does = 'answers' | 'refuses' | 'is late'

/** A shim that does as told, and counts what reaches it; the clock stands still until it is moved. */
function breakerOver() {
  const shim = { does: 'answers' as Does, calls: 0, nowMs: 0 }
  const client: TaskClient = {
    isClosed: false,
    closed: new Promise(() => {}),
    async call(_service, method) {
      shim.calls += 1
      if (shim.does === 'is late') throw new PurserError('deadline_exceeded', 'late')
      if (shim.does === 'refuses') throw new PurserError('not_found', 'no such task')
      return create(method.output)
    },
    close() {},
  }
  const breaker = new CircuitBreaker(client, () => shim.nowMs)
  const ask = async (options: { timeoutMs?: number } = { timeoutMs: 1 }) => {
    const before = shim.calls
    const signal = new AbortController().signal
    const code = await breaker.call('Task', Task.method.state, {}, { signal, ...options }).then(
      () => 'ok',
      (error: PurserError) => error.code,
    )
    return [code, shim.calls - before]
  }
  return { shim, ask }
}

test('after two calls that were not answered in time no more are made, until one that is let through is answered', async () => {
  const { shim, ask } = breakerOver()
  shim.does = 'is late'
  for (let call = 0; call < 2; call += 1) assert.deepEqual(await ask(), ['deadline_exceeded', 1])
  assert.deepEqual(await ask(), ['deadline_exceeded', 0])
  shim.nowMs += 5000
  assert.deepEqual(await ask(), ['deadline_exceeded', 1], 'one is let through')
  assert.deepEqual(await ask(), ['deadline_exceeded', 0])
  shim.nowMs += 5000
  shim.does = 'answers'
  const [one, other] = await Promise.all([ask(), ask()])
  assert.deepEqual([one[0], other[0]], ['ok', 'deadline_exceeded'], 'one at a time')
  assert.deepEqual(await ask(), ['ok', 1])
})

test('an answer, be it a refusal, begins the count anew; calls without a deadline do not count', async () => {
  const { shim, ask } = breakerOver()
  for (const does of ['is late', 'refuses', 'is late', 'answers'] as const) {
    shim.does = does
    assert.equal((await ask())[1], 1)
  }
  shim.does = 'is late'
  for (let call = 0; call < 10; call += 1) assert.deepEqual(await ask({}), ['deadline_exceeded', 1])
  shim.does = 'answers'
  assert.deepEqual(await ask(), ['ok', 1])
})
