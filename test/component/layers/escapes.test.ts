import assert from 'node:assert/strict'
import { lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Whiteouts } from '../../../src/layers/protocol.ts'
import { startExtractor } from '../../support/layers.ts'
import { type TestEntry, tarOf } from '../../support/tars.ts'
import { describeTree } from '../../support/trees.ts'

/** Ways out of the root; each writes, or hides, `outside/file` if it succeeds. */
const escapes: Record<string, TestEntry[]> = {
  'dots in a name': [{ name: '../outside/file', data: 'bad' }],
  'dots in the middle': [{ name: 'a/../../outside/file', data: 'bad' }],
  'a symlink with dots': [
    { name: 'out', flag: '2', link: '../outside' },
    { name: 'out/file', data: 'bad' },
  ],
  'an absolute symlink': [
    { name: 'out', flag: '2', link: 'OUTSIDE' },
    { name: 'out/file', data: 'bad' },
  ],
  'a chain of symlinks': [
    { name: 'a', flag: '2', link: '..' },
    { name: 'b', flag: '2', link: 'a/outside' },
    { name: 'b/file', data: 'bad' },
  ],
  'a symlink at the file itself': [
    { name: 'file', flag: '2', link: '../outside/file' },
    { name: 'file', data: 'bad' },
  ],
  'a directory entry on a symlink': [
    { name: 'd', flag: '2', link: '../outside' },
    { name: 'd', flag: '5', mode: 0o777 },
    { name: 'd/file', data: 'bad' },
  ],
  'a directory replaced by a symlink': [
    { name: 'd', flag: '5' },
    { name: 'd/x', data: 'x' },
    { name: 'd', flag: '2', link: '../outside' },
    { name: 'd/file', data: 'bad' },
  ],
  'a hard link to a symlink': [
    { name: 's', flag: '2', link: '../outside/file' },
    { name: 'h', flag: '1', link: 's' },
    { name: 'h', data: 'bad' },
  ],
  'a whiteout through a symlink': [{ name: 'out', flag: '2', link: '../outside' }, { name: 'out/.wh.file' }],
  'an opaque mark through a symlink': [{ name: 'out', flag: '2', link: '../outside' }, { name: 'out/.wh..wh..opq' }],
  'a whiteout with dots': [{ name: '../outside/.wh.file' }],
  'a name in pax': [{ name: 'x', pax: { path: '../outside/file' }, data: 'bad' }],
  'an absolute name in pax': [{ name: 'x', pax: { path: 'OUTSIDE/file' }, data: 'bad' }],
  'a link in pax': [
    { name: 'out', flag: '2', pax: { linkpath: 'OUTSIDE' } },
    { name: 'out/file', data: 'bad' },
  ],
  'a long name of GNU tar': [
    { name: '././@LongLink', flag: 'L', data: '../outside/file\0' },
    { name: 'short', data: 'bad' },
  ],
  'a long link of GNU tar': [
    { name: '././@LongLink', flag: 'K', data: 'OUTSIDE\0' },
    { name: 'out', flag: '2', link: 'short' },
    { name: 'out/file', data: 'bad' },
  ],
  'the name of a sparse file': [
    {
      name: 'x',
      data: 'bad',
      pax: { 'GNU.sparse.name': '../outside/file', 'GNU.sparse.size': '3', 'GNU.sparse.map': '0,3' },
    },
  ],
  'attributes of a directory behind a symlink': [
    { name: 'out', flag: '2', link: 'OUTSIDE' },
    { name: 'out/', flag: '5', mode: 0o777, uid: 7, pax: { 'SCHILY.xattr.user.a': 'b', mtime: '1' } },
  ],
  'a directory that stands where a symlink to it was': [
    { name: 'd/e', flag: '5' },
    { name: 'd/e/f', data: 'x' },
    { name: 'd', flag: '2', link: 'OUTSIDE' },
    { name: 'd/.wh.file' },
    { name: 'd/file', flag: '5' },
  ],
  'links that point at each other, then a file': [
    { name: 'a', flag: '2', link: 'b/../../outside' },
    { name: 'b', flag: '2', link: '.' },
    { name: 'a/file', data: 'bad' },
  ],
  'a device in place of it': [{ name: '../outside/file', flag: '3', major: 1, minor: 3 }],
  'a pipe in place of it': [{ name: 'x/../../outside/file', flag: '6' }],
}

/** OUTSIDE in names, links and data is the directory that must not change. */
function placed(entry: TestEntry, outside: string): TestEntry {
  const place = (text: string) => text.replace('OUTSIDE', outside)
  const pax = Object.entries(entry.pax ?? {}).map(([key, value]) => [
    key,
    typeof value === 'string' ? place(value) : value,
  ])
  return {
    ...entry,
    link: place(entry.link ?? ''),
    ...(typeof entry.data === 'string' ? { data: place(entry.data) } : {}),
    ...(entry.pax ? { pax: Object.fromEntries(pax) } : {}),
  }
}

for (const [what, entries] of Object.entries(escapes)) {
  for (const whiteouts of ['overlay', 'apply', 'ignore'] satisfies Whiteouts[]) {
    test(`nothing leaves the root by ${what} (${whiteouts})`, async () => {
      await using extractor = startExtractor()
      const outside = join(extractor.path, 'outside')
      mkdirSync(outside)
      writeFileSync(join(outside, 'file'), 'good')
      const before = describeTree(outside)
      await extractor.extract(tarOf(entries.map((entry) => placed(entry, outside))), { whiteouts })
      assert.deepEqual(describeTree(outside), before)
    })
  }
}

test('a hard link to a file outside the root is refused', async () => {
  await using extractor = startExtractor()
  writeFileSync(join(extractor.path, 'secret'), 'secret')
  for (const link of ['../secret', join(extractor.path, 'secret')]) {
    await assert.rejects(extractor.extract(tarOf([{ name: 'h', flag: '1', link }])), { code: 'data_loss' })
  }
  assert.equal(lstatSync(join(extractor.path, 'secret')).nlink, 1)
})

test('names that go up end at the root, as in containerd', async () => {
  await using extractor = startExtractor()
  const { target } = await extractor.extract(
    tarOf([
      { name: '../../etc/a', data: 'a' },
      { name: '/abs', data: 'b' },
      { name: 's', flag: '2', link: '/etc' },
      { name: 's/c', data: 'c' },
    ]),
  )
  assert.deepEqual(readdirSync(join(target, 'etc')), ['a', 'c'])
  assert.equal(readFileSync(join(target, 'abs'), 'utf8'), 'b')
})
