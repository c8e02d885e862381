import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { LayerPool } from '../../../src/layers/pool.ts'
import { NativeSnapshotter } from '../../../src/snapshotters/native.ts'
import { openOverlayfs } from '../../../src/snapshotters/overlayfs.ts'
import type { TestEntry } from '../../support/tars.ts'
import { describeTree, temporaryDirectory } from '../../support/trees.ts'
import { dir, file, hard, link, type Tree, timelessOf, unpackImage, writeLayers } from '../../support/unpacking.ts'

const signal = AbortSignal.timeout(300_000)
const pool = new LayerPool({ threads: 2, idleMs: 100 })

/** All ways give one tree, which is returned. */
async function unpackEveryWay(layersOfEntries: readonly (readonly TestEntry[])[]): Promise<Tree> {
  using work = temporaryDirectory()
  const layers = writeLayers(work.path, layersOfEntries)
  const overlayfs = await openOverlayfs(join(work.path, 'o'))
  const native = await NativeSnapshotter.open(join(work.path, 'n'))
  const timeless = timelessOf(layersOfEntries)
  const ways: Tree[] = []
  for (const [snapshotter, way] of [
    [native, 'in order'],
    [overlayfs, 'in order'],
    [overlayfs, 'in parallel'],
  ] as const) {
    ways.push(await unpackImage({ pool, snapshotter, runDir: work.path }, layers, way, timeless, signal))
  }
  const [inOrder = {}, ...others] = ways
  for (const other of others) assert.deepEqual(other, inOrder)
  return inOrder
}

const base = [
  dir('.', { mode: 0o711, mtime: 1_111_111_111 }),
  dir('etc', {
    mtime: 1_000_000_001,
    mode: 0o750,
    uid: 3,
    gid: 4,
    pax: { 'SCHILY.xattr.user.of': 'etc', mtime: '5.5' },
  }),
  file('etc/passwd'),
  dir('usr'),
  dir('usr/bin', { mode: 0o2775, gid: 9 }),
  file('usr/bin/su', 'su', { mode: 0o4755 }),
  link('bin', 'usr/bin'),
  link('abs', '/usr/bin'),
  dir('var'),
  dir('var/cache'),
  file('var/cache/a'),
  file('var/cache/b'),
  hard('var/cache/c', 'var/cache/a'),
  file('plain'),
]

const cases: Record<string, TestEntry[][]> = {
  'directories without an entry of their own': [base, [file('etc/new'), file('usr/bin/deep/er/x')], [file('etc/new2')]],
  'whiteouts of file, directory and symlink': [base, [file('etc/.wh.passwd'), file('.wh.var'), file('.wh.bin')]],
  'whiteouts of what is not there': [
    base,
    [file('etc/.wh.no'), file('no/such/.wh.dir')],
    [dir('fresh'), file('fresh/.wh.x')],
  ],
  'whiteouts in the lowest layer': [[dir('a'), file('a/b'), file('a/.wh.c'), file('d/.wh..wh..opq')]],
  'an opaque directory': [base, [dir('var/cache'), file('var/cache/.wh..wh..opq'), file('var/cache/d')]],
  'an opaque mark after its files, and whiteouts beside it': [
    base,
    [file('var/cache/.wh.a'), file('var/cache/d'), file('var/cache/.wh..wh..opq'), file('var/cache/.wh.b')],
  ],
  'an opaque root': [base, [file('.wh..wh..opq'), file('only')]],
  'a whiteout beside what replaces it': [
    base,
    [file('.wh.var'), dir('var'), file('var/x'), file('etc/passwd'), file('etc/.wh.passwd')],
  ],
  'what replaces beside its whiteout': [base, [dir('var'), file('var/x'), file('.wh.var')]],
  'a file through a lower symlink': [base, [file('bin/sh')], [file('bin/ls'), file('abs/cat')]],
  'a whiteout through a lower symlink': [base, [file('bin/.wh.su')]],
  'a directory for a lower symlink, after a file through it': [base, [file('bin/sh'), dir('bin')]],
  'a file through a symlink of its own layer': [
    base,
    [link('l', 'usr/bin'), file('l/x'), link('m', 'new/dir'), file('m/y')],
  ],
  'a hard link to a lower file': [base, [hard('etc/hard', 'var/cache/b'), file('etc/other')]],
  'a hard link within a layer': [base, [file('one'), hard('two', 'one'), hard('usr/three', 'two')]],
  'a file for a directory and a directory for a file': [
    base,
    [file('var', 'now a file'), dir('plain'), file('plain/x')],
  ],
  'a directory, a file, the directory again': [base, [file('var', 'x')], [dir('var'), file('var/new')]],
  'a file and then a directory in one layer, over a directory': [base, [file('var', 'x'), dir('var'), file('var/new')]],
  'a directory entry after its files': [
    base,
    [file('etc/a'), dir('etc', { mode: 0o700 }), file('newer/b'), dir('newer')],
  ],
  'a directory that loses its attributes': [base, [dir('etc', { mode: 0o700 }), dir('.', { mode: 0o555, mtime: 3 })]],
  'a file below a lower file': [base, [file('plain/x')]],
  'whiteouts below a lower file': [base, [file('plain/.wh.x'), file('plain/.wh..wh..opq'), file('plain/y/.wh.z')]],
  'whiteouts below a name that is hidden': [
    base,
    [file('.wh.var'), file('var/.wh.a'), file('.wh.bin'), file('bin/.wh.x')],
  ],
  'a hard link to a lower symlink, after a file through it': [base, [file('bin/x'), hard('etc/bin', 'bin')]],
  'a directory replaced by a symlink to another one': [
    [
      dir('.'),
      dir('a', { mtime: 1 }),
      dir('n', { mtime: 2 }),
      dir('n/m', { mtime: 3 }),
      link('n', 'a'),
      dir('a/m', { mtime: 4 }),
    ],
  ],
  'a directory twice, with attributes and without': [
    base,
    [dir('d', { pax: { 'SCHILY.xattr.user.of': 'd' } }), dir('d', { mode: 0o700 })],
  ],
  'opaque marks and whiteouts, the innermost first': [
    base,
    [file('var/cache/.wh..wh..opq'), file('var/.wh..wh..opq'), file('usr/bin/.wh.su'), file('.wh.usr')],
  ],
  'devices and pipes': [
    base,
    [
      { name: 'null', flag: '3', major: 1, minor: 3 },
      { name: 'etc/pipe', flag: '6' },
      { name: 'usr', flag: '6' },
    ],
  ],
  'names that are not UTF-8': [
    [dir('etc')],
    [{ name: 'x', pax: { path: Buffer.from([0x65, 0x74, 0x63, 0x2f, 0xe9, 0x2f, 0xfc]) } }],
    [
      {
        name: 'x',
        pax: {
          path: Buffer.concat([Buffer.from('etc/'), Buffer.from([0xe9]), Buffer.from('/.wh.'), Buffer.from([0xfc])]),
        },
      },
    ],
  ],
}

for (const [what, layers] of Object.entries(cases)) {
  test(`layers extracted in parallel equal those in order: ${what}`, async () => {
    const tree = await unpackEveryWay(layers)
    assert.ok(!Object.values(tree).includes('listed, but not there'))
    assert.ok(!Object.keys(tree).some((path) => path.includes('.wh.')))
  })
}

test('a directory that the layer only passes through keeps owner, mode, time and attributes', async () => {
  const before = await unpackEveryWay([base])
  const after = await unpackEveryWay([base, [file('etc/new'), file('usr/bin/new')]])
  for (const path of ['', 'etc', 'usr', 'usr/bin']) assert.equal(after[path], before[path])
})

test('attributes of a lower directory do not reach what a symlink of the layer leads to', async () => {
  using work = temporaryDirectory()
  mkdirSync(join(work.path, 'c'), { mode: 0o700 })
  const before = describeTree(join(work.path, 'c'))
  const lower = [dir('.'), dir('b'), dir('b/c', { mode: 0o777, uid: 5 })]
  await unpackEveryWay([lower, [file('b/c/x'), file('b/c/.wh.y'), link('b', work.path)]])
  assert.deepEqual(describeTree(join(work.path, 'c')), before)
})
