import assert from 'node:assert/strict'
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { listXattrs } from '../../../src/host/xattrs.ts'
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
}

for (const [what, entries] of Object.entries(escapes)) {
  for (const whiteouts of ['overlay', 'apply', 'ignore'] satisfies Whiteouts[]) {
    test(`nothing leaves the root by ${what} (${whiteouts})`, async () => {
      await using extractor = startExtractor()
      const outside = join(extractor.path, 'outside')
      mkdirSync(outside)
      writeFileSync(join(outside, 'file'), 'good')
      const before = describeTree(outside)
      const linked = entries.map((entry) => ({ ...entry, link: entry.link?.replace('OUTSIDE', outside) ?? '' }))
      await extractor.extract(tarOf(linked), { whiteouts })
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

test('entries replace one another: file, directory and back, symlink, twice the same', async () => {
  await using extractor = startExtractor()
  const { target } = await extractor.extract(
    tarOf([
      { name: 'a', data: 'file' },
      { name: 'a', flag: '5' },
      { name: 'a/b', data: 'in' },
      { name: 'c', flag: '5' },
      { name: 'c/d', data: 'in' },
      { name: 'c', data: 'now a file' },
      { name: 'e', data: '1' },
      { name: 'e', data: '2' },
      { name: 'self', data: 'kept' },
      { name: 'self', flag: '1', link: 'self' },
      { name: 'f', data: 'a file' },
      { name: 'f/g', data: 'below it' },
    ]),
  )
  assert.equal(readFileSync(join(target, 'a/b'), 'utf8'), 'in')
  assert.equal(readFileSync(join(target, 'c'), 'utf8'), 'now a file')
  assert.equal(readFileSync(join(target, 'e'), 'utf8'), '2')
  assert.equal(readFileSync(join(target, 'self'), 'utf8'), 'kept')
  assert.equal(readFileSync(join(target, 'f/g'), 'utf8'), 'below it')
})

test('a layer sets none of the attributes that overlayfs believes', async () => {
  await using extractor = startExtractor()
  const pax = { 'SCHILY.xattr.trusted.overlay.redirect': '/etc', 'SCHILY.xattr.user.fine': 'yes' }
  const { target } = await extractor.extract(tarOf([{ name: 'd', flag: '5', pax }]))
  assert.deepEqual(listXattrs(join(target, 'd')), ['user.fine'])
})

test('a character device 0/0 is left out: overlayfs would take it for a whiteout', async () => {
  await using extractor = startExtractor()
  const { target } = await extractor.extract(
    tarOf([
      { name: 'w', flag: '3' },
      { name: 'null', flag: '3', major: 1, minor: 3 },
    ]),
  )
  assert.deepEqual(readdirSync(target), ['null'])
})

const refused: Record<string, { layer: Buffer; code: string; names?: string }> = {
  'a name of 300 bytes': {
    layer: tarOf([{ name: 'x', pax: { path: 'n'.repeat(300) } }]),
    code: 'data_loss',
    names: 'nnn',
  },
  'a loop of symlinks': {
    layer: tarOf([
      { name: 'a', flag: '2', link: 'b' },
      { name: 'b', flag: '2', link: 'a' },
      { name: 'a/x', data: '1' },
    ]),
    code: 'data_loss',
    names: '"a"',
  },
  'a hard link to a directory': {
    layer: tarOf([
      { name: 'd', flag: '5' },
      { name: 'h', flag: '1', link: 'd' },
    ]),
    code: 'data_loss',
    names: '"h"',
  },
  'a root that is a file': { layer: tarOf([{ name: '.', data: 'x' }]), code: 'data_loss' },
  'a whiteout of the directory itself': {
    layer: tarOf([{ name: 'a/.wh..' }]),
    code: 'invalid_argument',
    names: 'a/.wh..',
  },
  'an extended attribute too large': {
    layer: tarOf([{ name: 'big', pax: { 'SCHILY.xattr.user.big': Buffer.alloc(70_000, 1) } }]),
    code: 'data_loss',
    names: 'big',
  },
  'no tar in it': { layer: gzipSync(Buffer.alloc(4096, 'text ')), code: 'data_loss' },
  'its end missing': {
    layer: gzipSync(tarOf([{ name: 'a', data: 'x'.repeat(5000) }])).subarray(0, -9),
    code: 'data_loss',
  },
  'other bytes after its end': {
    layer: Buffer.concat([gzipSync(tarOf([{ name: 'a' }])), Buffer.from('garbage')]),
    code: 'data_loss',
  },
  bzip2: { layer: Buffer.from('BZh91AY&SY'), code: 'unimplemented' },
}

for (const [what, { layer, code, names }] of Object.entries(refused)) {
  test(`a layer with ${what} is refused`, async () => {
    await using extractor = startExtractor()
    await assert.rejects(extractor.extract(layer), (error) => {
      assert.ok(error instanceof Error && 'code' in error)
      assert.equal(error.code, code, error.message)
      if (names) assert.ok(error.message.includes(names), error.message)
      return true
    })
  })
}

test('a bomb is stopped by its ratio and by its size', async () => {
  await using extractor = startExtractor()
  const bomb = gzipSync(tarOf([{ name: 'zeros', data: Buffer.alloc(2 ** 23) }]))
  const code = 'resource_exhausted'
  await assert.rejects(extractor.extract(bomb, { limits: { ratioMax: 100, ratioFromBytes: 2 ** 20 } }), { code })
  await assert.rejects(extractor.extract(bomb, { limits: { tarBytesMax: 2 ** 22 } }), { code })
  const { unpackedBytes } = await extractor.extract(bomb)
  assert.equal(unpackedBytes, 2 ** 23)
})

test('the thread serves on after a refusal, and keeps no file open', async () => {
  await using extractor = startExtractor()
  const tar = tarOf([
    { name: 'd/a', data: 'x' },
    { name: 'h', flag: '1', link: 'nowhere' },
  ])
  await assert.rejects(extractor.extract(tar))
  const openBefore = readdirSync('/proc/self/fd').length
  for (let round = 0; round < 5; round += 1) await assert.rejects(extractor.extract(tar))
  assert.equal(readdirSync('/proc/self/fd').length, openBefore)
  await extractor.extract(tarOf([{ name: 'fine', data: 'x' }]))
  assert.ok(existsSync(join(extractor.path, 'root/fine')))
})
