import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeLog, encodeLog } from '../../../src/shim/log-format.ts'

const NEW_YEAR_MS = Date.UTC(2026, 0, 1)

const decodeAll = (log: Buffer) => {
  const entries: ReturnType<typeof decodeLog>[] = []
  for (let at = 0; at < log.length; ) {
    const end = log.indexOf(0x0a, at) + 1
    entries.push(decodeLog(log.subarray(at, end), { id: '', offset: end }))
    at = end
  }
  return entries
}

test('a line is written as the CRI has it, and the end of an unfinished one too', () => {
  const log = encodeLog('stderr', Buffer.from('one\ntwo'), NEW_YEAR_MS).toString()
  const time = '2026-01-01T00:00:00.000000000Z'
  assert.equal(log, `${time} stderr F one\n${time} stderr P two\n`)
})

test('whatever bytes a process writes, in whatever pieces, are read back as they were', () => {
  const bytes = fc.uint8Array({ maxLength: 40 }).map((all) => Buffer.from(all.map((byte) => (byte < 60 ? 10 : byte))))
  fc.assert(
    fc.property(fc.array(bytes), (chunks) => {
      const log = Buffer.concat(chunks.map((chunk) => encodeLog('stdout', chunk, NEW_YEAR_MS)))
      const entries = decodeAll(log)
      assert.ok(entries.every((entry) => entry?.stream === 'stdout'))
      assert.ok(Buffer.concat(entries.map((entry) => entry?.data ?? Buffer.alloc(0))).equals(Buffer.concat(chunks)))
    }),
  )
})

test('a line that is no entry is none', () => {
  for (const line of ['\n', '2026\n', '2026-01-01T00:00:00Z stdout\n', '2026 stdin F x\n', '2026 stdout X x\n']) {
    assert.equal(decodeLog(Buffer.from(line), { id: '', offset: 0 }), undefined)
  }
})
