import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { withNames } from '../../../src/network/hosts-file.ts'

const line = (address: string, ...names: string[]) => ({ address, names })

test('names take the place of those before them; what a container has written around them stays, byte for byte', () => {
  const text = fc.string({ unit: 'grapheme' }).map((each) => each.replaceAll('#', ''))
  fc.assert(
    fc.property(text, text, (before, after) => {
      const first = withNames(before, [line('10.0.0.1', 'a')]) + after
      const second = withNames(first, [line('10.0.0.2', 'b', 'c')])
      assert.ok(second.startsWith(before) && second.endsWith(after))
      assert.ok(!second.includes('10.0.0.1\ta') && second.includes('10.0.0.2\tb c\n'))
      assert.equal(withNames(second, [line('10.0.0.2', 'b', 'c')]), second)
    }),
  )
})
