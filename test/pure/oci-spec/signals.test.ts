import assert from 'node:assert/strict'
import { constants } from 'node:os'
import { test } from 'node:test'
import { isSignal, parseSignal, SIGNALS } from '../../../src/oci/signals.ts'

test('a signal is known by name, with and without SIG, in any case, and by number', () => {
  for (const text of ['SIGTERM', 'TERM', 'term', 'SigTerm', '15']) assert.equal(parseSignal(text), 15, text)
})

test('the numbers are those of this Linux', { skip: process.platform !== 'linux' }, () => {
  for (const [name, number] of Object.entries(constants.signals)) {
    if (name in constants.signals && Object.hasOwn(SIGNALS, name.slice(3)))
      assert.equal(parseSignal(name), number, name)
  }
  assert.ok(Object.keys(SIGNALS).length >= 31)
})

test('real-time signals count from either end', () => {
  assert.equal(parseSignal('SIGRTMIN'), 34)
  assert.equal(parseSignal('SIGRTMIN+3'), 37)
  assert.equal(parseSignal('RTMAX-1'), 63)
  assert.equal(parseSignal('RTMAX'), 64)
})

test('what is no signal is refused by value', () => {
  for (const text of ['', '0', '65', '-9', 'SIG', 'SIGFOO', 'RTMIN-1', 'RTMAX+1', 'RTMIN+31', 'constructor', '1.5']) {
    assert.throws(() => parseSignal(text), { code: 'invalid_argument' }, text)
    assert.equal(isSignal(text), false)
  }
})
