import assert from 'node:assert/strict'
import { test } from 'node:test'
import { artifactPattern } from '../../../src/workers/task/job/artifact-pattern.ts'

const matches = (pattern: string, paths: readonly string[]): string[] => paths.filter(artifactPattern(pattern).takes)

test('a path without a pattern is looked for where it is, with all below', () => {
  const { from, takes } = artifactPattern('dist/app')
  assert.equal(from, 'dist/app')
  assert.ok(takes('dist/app') && takes('dist/app/x/y'))
})

test('a pattern is looked for below the names that are before it', () => {
  assert.equal(artifactPattern('a/b/*.txt').from, 'a/b')
  assert.equal(artifactPattern('*/b').from, '')
  assert.equal(artifactPattern('**').from, '')
})

test('* stands for characters of one name, ** for any directories, also none', () => {
  const paths = ['a.txt', 'd/a.txt', 'd/e/a.txt', 'd/e/b.log', 'd/.txt']
  assert.deepEqual(matches('*.txt', paths), ['a.txt'])
  assert.deepEqual(matches('d/*.txt', paths), ['d/a.txt', 'd/.txt'])
  assert.deepEqual(matches('**/*.txt', paths), ['a.txt', 'd/a.txt', 'd/e/a.txt', 'd/.txt'])
  assert.deepEqual(matches('**/e/**', paths), ['d/e/a.txt', 'd/e/b.log'])
  assert.deepEqual(matches('**', paths), paths)
})

test('what is in a directory that a pattern means is meant too', () => {
  assert.deepEqual(matches('d/*', ['d', 'd/e', 'd/e/f/g', 'x']), ['d/e', 'd/e/f/g'])
})

test('a pattern of many stars takes no longer for it', () => {
  const begunAt = performance.now()
  assert.equal(matches(`${'**/'.repeat(300)}x*`, [`${'a/'.repeat(400)}b`]).length, 0)
  assert.ok(performance.now() - begunAt < 1000)
})
