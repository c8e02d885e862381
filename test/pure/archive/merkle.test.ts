import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  consistencyPath,
  EMPTY_ROOT,
  Frontier,
  hashOver,
  inclusionPath,
  isConsistent,
  leafHash,
  rootOf,
  rootOfInclusion,
} from '../../../src/archive/merkle.ts'

// The leaves and roots that implementations of Certificate Transparency are tried with.
const LEAVES = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f']
const ROOTS = [
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
]

test('roots are those of RFC 6962', () => {
  const leaves = LEAVES.map((hex) => leafHash(Buffer.from(hex, 'hex')))
  ROOTS.forEach((root, index) => {
    assert.equal(rootOf(leaves.slice(0, index + 1)).toString('hex'), root)
  })
  assert.equal(rootOf([]).toString('hex'), EMPTY_ROOT.toString('hex'))
})

/** Section 2.1 of RFC 6962, word for word. */
function reference(leaves: readonly Buffer[]): Buffer {
  if (leaves.length === 0) return hash('sha256', '', 'buffer')
  if (leaves.length === 1) return leaves[0] ?? EMPTY_ROOT
  let split = 1
  while (split * 2 < leaves.length) split *= 2
  const children = [reference(leaves.slice(0, split)), reference(leaves.slice(split))]
  return hash('sha256', Buffer.concat([Buffer.from([1]), ...children]), 'buffer')
}

const leavesOf = (count: number): Buffer[] => Array.from({ length: count }, (_, index) => leafHash(String(index)))
const subtreeOf = (leaves: readonly Buffer[]) => (start: number, size: number) =>
  reference(leaves.slice(start, start + size))
const size = fc.integer({ min: 1, max: 200 })

test('a frontier with a rest has the root of the whole tree', () => {
  fc.assert(
    fc.property(size, fc.integer({ min: 0, max: 5 }), (count, height) => {
      const leaves = leavesOf(count)
      const width = 2 ** height
      const frontier = new Frontier()
      const complete = count - (count % width)
      for (let at = 0; at < complete; at += width) frontier.add(reference(leaves.slice(at, at + width)))
      const rest = leaves.slice(complete)
      assert.deepEqual(frontier.root(rest.length === 0 ? undefined : rootOf(rest)), reference(leaves))
      assert.deepEqual(hashOver(0, count, subtreeOf(leaves)), reference(leaves))
    }),
  )
})

test('an inclusion path leads to the root, from its own leaf and index only', () => {
  fc.assert(
    fc.property(size, fc.nat(), fc.nat(), (count, some, other) => {
      const leaves = leavesOf(count)
      const index = some % count
      const wrong = other % count
      const path = inclusionPath(index, count, subtreeOf(leaves))
      const leaf = leaves[index] ?? EMPTY_ROOT
      const root = reference(leaves)
      assert.deepEqual(rootOfInclusion(leaf, index, count, path), root)
      if (wrong === index) return
      assert.notDeepEqual(rootOfInclusion(leaves[wrong] ?? EMPTY_ROOT, index, count, path), root)
      assert.notDeepEqual(rootOfInclusion(leaf, wrong, count, path), root)
      assert.equal(rootOfInclusion(leaf, index, count, [...path, root]), undefined)
    }),
  )
})

test('a consistency path holds between a tree and what it grew to, and between no others', () => {
  fc.assert(
    fc.property(size, fc.nat(), fc.nat(), (count, some, at) => {
      const leaves = leavesOf(count)
      const oldSize = some % (count + 1)
      const old = { size: oldSize, root: reference(leaves.slice(0, oldSize)) }
      const now = { size: count, root: reference(leaves) }
      const path = consistencyPath(oldSize, count, subtreeOf(leaves))
      assert.ok(isConsistent(old, now, path))
      if (oldSize === 0) return
      const altered = leaves.with(at % oldSize, leafHash('altered'))
      const rewritten = { size: count, root: reference(altered) }
      assert.ok(!isConsistent(old, rewritten, consistencyPath(oldSize, count, subtreeOf(altered))))
    }),
  )
})
