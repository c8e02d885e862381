import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PurserError } from '../../../src/model/errors.ts'
import { parseBytes, parseDuration } from '../../../src/oci/size.ts'

const invalid = { name: 'PurserError', code: 'invalid_argument' }

test('sizes are powers of 1024 in every spelling', () => {
  const sizes = { '0': 0, '4096': 4096, '10b': 10, '1k': 1024, '1KB': 1024, '1KiB': 1024, '512m': 512 * 1024 ** 2 }
  for (const [text, bytes] of Object.entries(sizes)) assert.equal(parseBytes(text), bytes, text)
  assert.equal(parseBytes('1.5 g'), 1.5 * 1024 ** 3)
  assert.equal(parseBytes('0.3k'), 307)
})

test('what is no size is refused by value', () => {
  for (const text of ['', '-1', 'm', '1x', '1e3', '1..5', '1 2', '9999p', '1kk', 'NaN', 'Infinity', '0x10']) {
    assert.throws(() => parseBytes(text), invalid, text)
  }
  assert.throws(() => parseBytes('12parsecs'), /12parsecs/)
})

test('durations add up their parts', () => {
  const durations = {
    '0': 0,
    '10s': 10_000,
    '1m30s': 90_000,
    '1.5h': 5_400_000,
    '250ms': 250,
    '1.1s': 1100,
    '2d': 172_800_000,
  }
  for (const [text, ms] of Object.entries(durations)) assert.equal(parseDuration(text), ms, text)
})

test('a duration below a millisecond is not 0', () => {
  for (const text of ['1ns', '500us', '3µs', '0.5ms']) assert.equal(parseDuration(text), 1, text)
  assert.equal(parseDuration('1.001ms'), 2)
})

test('what is no duration is refused by value', () => {
  for (const text of ['', '10', '-1s', '1x', 's', '1 s', '1s2', '99999999999999999999h', '1S']) {
    assert.throws(() => parseDuration(text), invalid, text)
  }
})

test('whole numbers of each unit survive', () => {
  fc.assert(
    fc.property(fc.nat(1_000_000), fc.constantFrom('k', 'm', 'g'), (count, unit) => {
      assert.equal(parseBytes(`${count}${unit}`), count * 1024 ** ('kmg'.indexOf(unit) + 1))
      assert.equal(parseDuration(`${count}s`), count * 1000)
      assert.equal(parseDuration(`${count / 1000}s`), count)
    }),
  )
})

test('any text gives a whole number or a PurserError', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[0-9.]{0,24}[a-z]{0,3}$/)), (text) => {
      for (const parse of [parseBytes, parseDuration]) {
        try {
          const number = parse(text)
          assert.ok(Number.isSafeInteger(number) && number >= 0)
        } catch (error) {
          assert.ok(error instanceof PurserError && error.code === 'invalid_argument', String(error))
        }
      }
    }),
  )
})
