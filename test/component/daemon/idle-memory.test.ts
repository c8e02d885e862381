import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { pino } from 'pino'
import { releaseWhenIdle } from '../../../src/daemon/idle-memory.ts'

const MIB = 2 ** 20

test('what a burst of work made the heap grow to is given back once there is nothing to do', async () => {
  const grown = () => {
    const objects = Array.from({ length: 500_000 }, (_, at) => ({ at, text: `object ${at}` }))
    return objects.length === 0 ? 0 : process.memoryUsage().heapTotal
  }
  const before = grown()
  assert.ok(before > 40 * MIB, `the heap has only ${before} bytes: nothing to give back`)

  using _ = releaseWhenIdle(pino({ level: 'silent' }), 200)
  const deadline = Date.now() + 30_000
  while (process.memoryUsage().heapTotal > before - 20 * MIB) {
    assert.ok(Date.now() < deadline, `the heap still has ${process.memoryUsage().heapTotal} of ${before} bytes`)
    await delay(200)
  }
})
