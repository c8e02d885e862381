import assert from 'node:assert/strict'
import { posix } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { cleanPath, parseWhiteout, splitPath } from '../../../src/layers/paths.ts'

const part = fc.constantFrom('a', 'bc', '.', '..', '', '...', '.d', 'e.', '..f')

test('a cleaned path is the one that the kernel would find below the root, without dots', () => {
  fc.assert(
    fc.property(fc.array(part, { maxLength: 8 }), (parts) => {
      const path = parts.join('/')
      assert.equal(cleanPath(path), posix.normalize(`/${path}`).replace(/^\/|\/$/g, ''))
    }),
  )
})

test('a path splits into parent and name', () => {
  assert.deepEqual(splitPath('a/b/c'), { parent: 'a/b', name: 'c' })
  assert.deepEqual(splitPath('a'), { parent: '', name: 'a' })
})

test('whiteouts hide a name or a directory; what AUFS left behind is nothing', () => {
  const parse = (path: string) => parseWhiteout(path, splitPath(path).name)
  assert.deepEqual(parse('a/.wh.b'), { is: 'whiteout', of: 'b' })
  assert.deepEqual(parse('a/.wh..wh..opq'), { is: 'opaque' })
  assert.deepEqual(parse('.wh..wh.plnk/1.2'), { is: 'leftover' })
  assert.deepEqual(parse('.wh..wh.aufs'), { is: 'leftover' })
  assert.deepEqual(parse('.wh..hidden'), { is: 'whiteout', of: '.hidden' })
  assert.equal(parse('a/b.wh.c'), undefined)
})

for (const name of ['.wh.', '.wh..', '.wh...']) {
  test(`the whiteout ${name} is refused: it would hide a whole directory`, () => {
    assert.throws(() => parseWhiteout(`a/${name}`, name), { code: 'invalid_argument' })
  })
}
