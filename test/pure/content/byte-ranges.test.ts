import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ByteRanges } from '../../../src/content/byte-ranges.ts'

const SIZE = 64
const range = fc.tuple(fc.nat(SIZE), fc.nat(SIZE)).map(([a, b]) => ({ start: Math.min(a, b), end: Math.max(a, b) }))

test('ranges are what was added to them, in whatever order it came', () => {
  fc.assert(
    fc.property(fc.array(range, { maxLength: 12 }), (added) => {
      const isThere = Array.from({ length: SIZE }, (_, at) => added.some(({ start, end }) => at >= start && at < end))
      const ranges = new ByteRanges()
      for (const each of added) ranges.add(each)
      const missing = isThere.indexOf(false)
      assert.equal(ranges.totalBytes, isThere.filter(Boolean).length)
      assert.equal(ranges.contiguousBytes, missing < 0 ? SIZE : missing)
      const after = isThere.indexOf(true, missing)
      const gap = missing < 0 ? undefined : { start: missing, end: after < 0 ? SIZE : after }
      assert.deepEqual(ranges.firstGap(SIZE), gap)
      assert.equal(ByteRanges.parse(ranges.toString(), SIZE)?.toString(), ranges.toString())
    }),
  )
})

test('what was cut off while it was written, or speaks of more than the file has, is not believed', () => {
  const text = new ByteRanges([
    { start: 0, end: 10 },
    { start: 20, end: 30 },
  ]).toString()
  assert.equal(text, '0-10\n20-30\n')
  assert.equal(ByteRanges.parse(text.slice(0, -1), 100), undefined)
  assert.equal(ByteRanges.parse(text, 29), undefined)
  assert.equal(ByteRanges.parse('0-x\n', 100), undefined)
  assert.equal(ByteRanges.parse('', 100)?.totalBytes, 0)
})
