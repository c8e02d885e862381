import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { mountTemporarily } from '../../../src/host/mounts.ts'
import { LayerPool } from '../../../src/layers/pool.ts'
import { NativeSnapshotter } from '../../../src/snapshotters/native.ts'
import { OverlayfsSnapshotter } from '../../../src/snapshotters/overlayfs.ts'
import type { Snapshotter } from '../../../src/snapshotters/snapshotter.ts'
import { extractAlone, extractOnParents, joinLayer, type LayerToUnpack } from '../../../src/unpack/unpack-layers.ts'
import { sha256, type TestEntry, tarOf } from '../../support/tars.ts'
import { describeTree, temporaryDirectory } from '../../support/trees.ts'

const signal = AbortSignal.timeout(300_000)
const pool = new LayerPool({ threads: 2, idleMs: 100 })

const dir = (name: string, more: Partial<TestEntry> = {}): TestEntry => ({ name: `${name}/`, flag: '5', ...more })
const file = (name: string, data = name, more: Partial<TestEntry> = {}): TestEntry => ({ name, data, ...more })
const link = (name: string, to: string): TestEntry => ({ name, flag: '2', link: to })
const hard = (name: string, to: string): TestEntry => ({ name, flag: '1', link: to })

let images = 0

/** Without hard link counts: overlayfs parts the names of a file that lie in different layers (index=off). */
const uncounted = (tree: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(tree).map(([path, line]) => [path, line.replace(/ nlink \d+ with \S+/, '')]))

/** Unpacks in the given way, the way an image is pulled, and describes what a container would see. */
async function unpack(
  root: string,
  snapshotter: Snapshotter,
  layers: readonly LayerToUnpack[],
  way: 'in parallel' | 'in order',
  timeless: readonly string[],
): Promise<Record<string, string>> {
  const unpacker = { pool, snapshotter, runDir: root }
  images += 1
  const id = (index: number) => `i${images}l${index}`
  const parentsOf = (index: number) => Array.from({ length: index }, (_, at) => id(index - 1 - at))
  if (way === 'in parallel') {
    const alone = await Promise.all(
      layers.map((layer, at) => extractAlone(unpacker, layer, id(at), at === 0 ? 'bottom' : 'above', signal)),
    )
    for (const [at, layer] of layers.entries()) {
      const result = alone[at]
      assert.ok(result)
      await joinLayer(unpacker, layer, id(at), result, parentsOf(at), layer.path, signal)
    }
  } else
    for (const [at, layer] of layers.entries()) await extractOnParents(unpacker, layer, id(at), parentsOf(at), signal)
  const top = layers.length - 1
  await using merged = await mountTemporarily(snapshotter.mounts(id(top), 'committed', parentsOf(top)), root, signal)
  return describeTree(merged.path, timeless)
}

/** All ways give one tree, which is returned. */
async function unpackEveryWay(
  layersOfEntries: readonly (readonly TestEntry[])[],
  hardLinks: 'counted' | 'uncounted' = 'counted',
): Promise<Record<string, string>> {
  using work = temporaryDirectory()
  const layers = layersOfEntries.map((entries, at): LayerToUnpack => {
    const tar = tarOf(entries)
    const compressed = gzipSync(tar)
    const path = join(work.path, `layer-${at}`)
    writeFileSync(path, compressed)
    return { path, digest: sha256(compressed), diffId: sha256(tar), sizeBytes: compressed.length }
  })
  const overlayfs = await OverlayfsSnapshotter.open(join(work.path, 'o'))
  const native = await NativeSnapshotter.open(join(work.path, 'n'))
  // Without an entry for the root, its time is that of the extraction.
  const timeless = layersOfEntries.some((entries) => entries.some(({ name }) => name === './')) ? [] : ['']
  const ways: Record<string, string>[] = []
  for (const [snapshotter, way] of [
    [native, 'in order'],
    [overlayfs, 'in order'],
    [overlayfs, 'in parallel'],
  ] as const) {
    const tree = await unpack(work.path, snapshotter, layers, way, timeless)
    ways.push(hardLinks === 'counted' ? tree : uncounted(tree))
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

const path = fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'))
const entry: fc.Arbitrary<TestEntry> = fc.oneof(
  { weight: 3, arbitrary: path.map((name) => file(name, `file ${name}`)) },
  { weight: 2, arbitrary: fc.tuple(path, fc.constantFrom(0o700, 0o755)).map(([name, mode]) => dir(name, { mode })) },
  { weight: 1, arbitrary: fc.tuple(path, path).map(([name, to]) => link(name, `/${to}`)) },
  { weight: 1, arbitrary: fc.tuple(path, path).map(([name, to]) => hard(name, to)) },
  { weight: 2, arbitrary: path.map((name) => file(name.replace(/[^/]+$/, '.wh.$&'), '')) },
  { weight: 1, arbitrary: path.map((name) => file(name.replace(/[^/]+$/, '.wh..wh..opq'), '')) },
)

test('layers extracted in parallel equal those in order: any entries', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(entry, { maxLength: 6 }), { minLength: 1, maxLength: 3 }), async (layers) => {
      await unpackEveryWay(layers, 'uncounted').catch((error) => {
        // A tar that cannot be applied in order, such as one with a loop of symlinks, need not be in parallel.
        if (error.code !== 'data_loss') throw error
      })
    }),
    { numRuns: 8 },
  )
})

test('attributes of a lower directory do not reach what a symlink of the layer leads to', async () => {
  using work = temporaryDirectory()
  mkdirSync(join(work.path, 'c'), { mode: 0o700 })
  const before = describeTree(join(work.path, 'c'))
  const lower = [dir('.'), dir('b'), dir('b/c', { mode: 0o777, uid: 5 })]
  await unpackEveryWay([lower, [file('b/c/x'), file('b/c/.wh.y'), link('b', work.path)]])
  assert.deepEqual(describeTree(join(work.path, 'c')), before)
})

test('an image unpacks to what umoci makes of it', async () => {
  using work = temporaryDirectory()
  const layers = [
    base,
    [file('etc/.wh.passwd'), file('bin/sh'), dir('var/cache'), file('var/cache/.wh..wh..opq'), file('var/cache/z')],
  ]
  const mine = await unpackEveryWay(layers)
  const umoci = (...args: string[]) => execFileSync('umoci', args, { cwd: work.path, stdio: 'pipe' })
  umoci('init', '--layout', 'oci')
  umoci('new', '--image', 'oci:t')
  for (const entries of layers) {
    writeFileSync(join(work.path, 'layer.tar'), tarOf(entries))
    umoci('raw', 'add-layer', '--image', 'oci:t', 'layer.tar')
  }
  mkdirSync(join(work.path, 'out'))
  umoci('raw', 'unpack', '--image', 'oci:t', 'out/rootfs')
  const theirs = describeTree(join(work.path, 'out/rootfs'))
  rmSync(join(work.path, 'out'), { recursive: true })
  assert.deepEqual(mine, theirs)
})
