import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { listXattrs } from '../../../src/host/xattrs.ts'
import type { Whiteouts } from '../../../src/layers/protocol.ts'
import { errorCodeOf } from '../../../src/model/errors.ts'
import { openOverlayfs } from '../../../src/snapshotters/overlayfs.ts'
import type { Snapshotter } from '../../../src/snapshotters/snapshotter.ts'
import { startExtractor } from '../../support/layers.ts'
import { headerOf, padded, type TestEntry, tarOf } from '../../support/tars.ts'
import { describeTree } from '../../support/trees.ts'

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
    code: 'resource_exhausted',
    names: 'unpack.xattrBytesMax',
  },
  'a name with a zero byte': {
    layer: tarOf([{ name: 'x', pax: { path: Buffer.from('a\0b') } }]),
    code: 'data_loss',
    names: 'zero byte',
  },
  'a name of 5000 bytes': {
    layer: tarOf([{ name: 'x', pax: { path: 'deep/'.repeat(1000) } }]),
    code: 'resource_exhausted',
    names: 'unpack.pathBytesMax',
  },
  'a link of 5000 bytes': {
    layer: tarOf([{ name: 'x', flag: '2', pax: { linkpath: 'l'.repeat(5000) } }]),
    code: 'resource_exhausted',
    names: 'unpack.pathBytesMax',
  },
  'a name of 300 directories': {
    layer: tarOf([{ name: 'x', pax: { path: `${'d/'.repeat(300)}x` } }]),
    code: 'resource_exhausted',
    names: 'unpack.pathDepthMax',
  },
  '300 extended attributes': {
    layer: tarOf([
      { name: 'x', pax: Object.fromEntries(Array.from({ length: 300 }, (_, at) => [`SCHILY.xattr.user.a${at}`, 'b'])) },
    ]),
    code: 'resource_exhausted',
    names: 'unpack.xattrsMax',
  },
  'an extended header of 2 MiB': {
    layer: tarOf([{ name: 'x', pax: { comment: 'c'.repeat(2 ** 21) } }]),
    code: 'resource_exhausted',
    names: 'unpack.extendedHeaderBytesMax',
  },
  'a long name of GNU tar that never ends': {
    layer: headerOf({ name: '././@LongLink', flag: 'L', size: 2 ** 33 - 1 }),
    code: 'resource_exhausted',
    names: 'unpack.extendedHeaderBytesMax',
  },
  'a size in pax that is no number': {
    layer: tarOf([{ name: 'x', data: 'abc', pax: { size: '-3' } }]),
    code: 'data_loss',
    names: 'size',
  },
  'a size in pax beyond all bounds': {
    layer: tarOf([{ name: 'x', data: 'abc', pax: { size: '99999999999999999999' } }]),
    code: 'data_loss',
    names: 'size',
  },
  'a size in pax beyond the limit': {
    layer: tarOf([{ name: 'x', data: 'abc', pax: { size: String(2 ** 50) } }]),
    code: 'resource_exhausted',
    names: 'unpack.tarBytesMax',
  },
  'a size in pax that swallows what follows': {
    layer: tarOf([{ name: 'x', data: 'abc', pax: { size: '4096' } }], 'cut'),
    code: 'data_loss',
    names: 'x',
  },
  'a pax record that lies about its length': {
    layer: Buffer.concat([
      headerOf({ name: 'p', flag: 'x', data: '99 path=a\n' }),
      padded(Buffer.from('99 path=a\n')),
      tarOf([{ name: 'x' }]),
    ]),
    code: 'data_loss',
    names: 'pax record',
  },
  'an extended header and nothing after it': {
    layer: Buffer.concat([
      headerOf({ name: 'p', flag: 'x', data: '11 path=abc\n' }),
      padded(Buffer.from('11 path=abc\n')),
      Buffer.alloc(1024),
    ]),
    code: 'data_loss',
  },
  'a sparse file of 2^52 bytes': {
    layer: tarOf([{ name: 'x', data: 'abc', pax: { 'GNU.sparse.size': String(2 ** 52), 'GNU.sparse.map': '0,3' } }]),
    code: 'resource_exhausted',
    names: 'unpack.tarBytesMax',
  },
  'a sparse map that goes back': {
    layer: tarOf([{ name: 'x', data: 'abcdef', pax: { 'GNU.sparse.size': '100', 'GNU.sparse.map': '10,3,5,3' } }]),
    code: 'data_loss',
    names: 'sparse',
  },
  'a sparse map of less than its data': {
    layer: tarOf([{ name: 'x', data: 'abcdef', pax: { 'GNU.sparse.size': '100', 'GNU.sparse.map': '10,3' } }]),
    code: 'data_loss',
    names: 'sparse',
  },
  'a sparse map beyond its file': {
    layer: tarOf([{ name: 'x', data: 'abc', pax: { 'GNU.sparse.size': '2', 'GNU.sparse.map': '0,3' } }]),
    code: 'data_loss',
    names: 'sparse',
  },
  'a sparse map before the data that does not end': {
    layer: tarOf([
      {
        name: 'x',
        data: '7'.repeat(600),
        pax: { 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.realsize': '9' },
      },
    ]),
    code: 'data_loss',
    names: 'sparse map',
  },
  'an owner beyond all bounds': {
    layer: tarOf([{ name: 'x', pax: { uid: String(2 ** 32 - 1) } }]),
    code: 'data_loss',
    names: 'owner',
  },
  'a checksum that is wrong': { layer: Buffer.from(tarOf([{ name: 'abc' }])).fill('b', 0, 1), code: 'data_loss' },
  'a hard link to nothing': {
    layer: tarOf([{ name: 'h', flag: '1', link: 'nowhere' }]),
    code: 'data_loss',
    names: 'nowhere',
  },
  'a hard link behind a symlink that leads out': {
    layer: tarOf([
      { name: 'out', flag: '2', link: '../outside' },
      { name: 'h', flag: '1', link: 'out/file' },
    ]),
    code: 'data_loss',
    names: 'out/file',
  },
  'a symlink without a target': { layer: tarOf([{ name: 's', flag: '2' }]), code: 'data_loss', names: '"s"' },
  'zstd that is cut off': {
    layer: zstdCompressSync(tarOf([{ name: 'a', data: 'x'.repeat(5000) }])).subarray(0, -9),
    code: 'data_loss',
  },
  'other bytes after the end of zstd': {
    layer: Buffer.concat([zstdCompressSync(tarOf([{ name: 'a' }])), Buffer.from('garbage')]),
    code: 'data_loss',
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
      const said = `${error.message} ${'remedy' in error ? error.remedy : ''}`
      if (names) assert.ok(said.includes(names), said)
      return true
    })
  })
}

for (const [what, compress] of Object.entries({ gzip: gzipSync, zstd: zstdCompressSync })) {
  test(`a bomb in ${what} is stopped by its ratio and by its size`, async () => {
    await using extractor = startExtractor()
    const bomb = compress(tarOf([{ name: 'zeros', data: Buffer.alloc(2 ** 23) }]))
    assert.ok(bomb.length * 900 < 2 ** 23, `${bomb.length}`)
    const code = 'resource_exhausted'
    const ratio = { limits: { ratioMax: 100, ratioFromBytes: 2 ** 20 } }
    await assert.rejects(extractor.extract(bomb, ratio), { code, remedy: /unpack\.ratioMax/ })
    await assert.rejects(extractor.extract(bomb, { limits: { tarBytesMax: 2 ** 22 } }), { code })
    const { unpackedBytes } = await extractor.extract(bomb)
    assert.equal(unpackedBytes, 2 ** 23)
  })
}

test('of a million entries no more are made than the limit allows, and the memory for them is bounded', async () => {
  await using extractor = startExtractor()
  const many = gzipSync(Buffer.concat(Array.from({ length: 1000 }, () => headerOf({ name: 'd/', flag: '5' }))))
  const layer = (thousands: number) =>
    Buffer.concat([...Array.from({ length: thousands }, () => many), gzipSync(Buffer.alloc(1024))])
  await assert.rejects(extractor.extract(layer(1000), { limits: { entriesMax: 50_000 } }), {
    code: 'resource_exhausted',
    remedy: /unpack\.entriesMax/,
  })
  const before = process.memoryUsage().rss
  const { entries, target } = await extractor.extract(layer(100), {
    name: 'whole',
    limits: { ratioFromBytes: 2 ** 40 },
  })
  assert.equal(entries, 100_000)
  assert.deepEqual(readdirSync(target), ['d'])
  assert.ok(process.memoryUsage().rss - before < 150 * 2 ** 20)
})

test('devices are made, left out or refused, as the configuration says', async () => {
  await using extractor = startExtractor()
  const tar = tarOf([
    { name: 'null', flag: '3', major: 1, minor: 3 },
    { name: 'disk', flag: '4', major: 8, minor: 0 },
    { name: 'pipe', flag: '6' },
  ])
  const made = await extractor.extract(tar, { name: 'allow' })
  assert.deepEqual(readdirSync(made.target), ['disk', 'null', 'pipe'])
  const skipped = await extractor.extract(tar, { name: 'skip', limits: { devices: 'skip' } })
  assert.deepEqual(readdirSync(skipped.target), ['pipe'])
  const refused = extractor.extract(tar, { name: 'refuse', limits: { devices: 'refuse' } })
  await assert.rejects(refused, { code: 'permission_denied', message: /"null"/, remedy: /unpack\.devices/ })
})

test('what lies deeper than any path reaches is refused, and what is there by then can be removed', async () => {
  await using extractor = startExtractor()
  const snapshotter: Snapshotter = await openOverlayfs(extractor.path)
  const signal = AbortSignal.timeout(60_000)
  await snapshotter.create('deep', 'active', [], signal)
  const target = snapshotter.layerTarget('deep')
  assert.ok(target.placement === 'alone')
  // Each round goes down from where a symlink leads, so that no name in the tar is long.
  const part = `${'d'.repeat(100)}/`.repeat(10)
  const rounds = Array.from({ length: 8 }, (_, at): TestEntry[] => [
    { name: 'x', flag: '5', pax: { path: `${at === 0 ? '' : `to${at - 1}/`}${part}` } },
    { name: `to${at}`, flag: '2', pax: { linkpath: `${at === 0 ? '' : `to${at - 1}/`}${part}` } },
    { name: 'x', data: 'x', pax: { path: `to${at}/${'f'.repeat(255)}` } },
  ])
  const layer = tarOf(rounds.flat())
  const source = join(extractor.path, 'layer')
  writeFileSync(source, layer)
  const request = {
    source: { path: source, sizeBytes: layer.length },
    target: target.path,
    whiteouts: 'ignore',
  } as const
  await assert.rejects(extractor.pool.extract(request, signal), { code: 'data_loss' })
  await snapshotter.remove('deep', signal)
  assert.deepEqual(readdirSync(join(extractor.path, 'snapshots')), [])
})

for (const whiteouts of ['overlay', 'apply', 'ignore'] satisfies Whiteouts[]) {
  test(`nothing leaves the root while another thread swaps its directories for symlinks (${whiteouts})`, async (t) => {
    await using extractor = startExtractor()
    const outside = join(extractor.path, 'outside')
    mkdirSync(join(outside, 'd/e'), { recursive: true })
    for (const name of ['d/e/kept', 'd/kept', 'f0', 'd/f0', 'd/e/f0', 'd/e/f1'])
      writeFileSync(join(outside, name), 'good')
    const before = describeTree(outside)
    const pax = { 'SCHILY.xattr.user.a': 'b' }
    const entries = Array.from({ length: 400 }, (_, at): TestEntry[] => [
      { name: 'd/', flag: '5', mode: 0o777, uid: 1, pax },
      { name: 'd/e/', flag: '5', mode: 0o700, gid: 2, pax },
      { name: `d/e/f${at % 3}`, data: 'bad', mode: 0o4777, uid: 5 },
      { name: `d/f${at % 2}`, flag: '6', mode: 0o666, uid: 5 },
      { name: 'd/h', flag: '1', link: `d/e/f${at % 3}` },
      { name: 'd/e/.wh.kept' },
      ...(at % 20 === 0 ? [{ name: 'd/e/.wh..wh..opq' }, { name: 'd', data: 'a file' }, { name: '.wh.d' }] : []),
    ])
    const layer = tarOf(entries.flat())
    await using swapping = startSwapping(join(extractor.path, 'root'), outside)
    const outcomes = new Map<string, number>()
    for (const endMs = performance.now() + 1500; performance.now() < endMs; ) {
      const outcome = await extractor.extract(layer, { whiteouts }).then(
        () => 'extracted',
        (error: unknown) => String(errorCodeOf(error)),
      )
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
    }
    const swaps = await swapping.stop()
    t.diagnostic(JSON.stringify({ swaps, ...Object.fromEntries(outcomes) }))
    assert.ok(swaps > 100)
    assert.deepEqual(describeTree(outside), before)
  })
}

/** Renames directories and files of the root away, puts symlinks that lead out in their place, and goes back, for ever. */
function startSwapping(root: string, outside: string): AsyncDisposable & { stop(): Promise<number> } {
  const stopped = new Int32Array(new SharedArrayBuffer(4))
  const thread = new Worker(
    `
    const { renameSync, symlinkSync, unlinkSync } = require('node:fs')
    const { workerData: { root, outside, stopped }, parentPort } = require('node:worker_threads')
    const attempt = (call) => { try { call(); return 1 } catch { return 0 } }
    let swaps = 0
    while (Atomics.load(stopped, 0) === 0) {
      for (const [name, to] of [['d', outside + '/d'], ['d/e', outside + '/d/e'], ['d/e/f0', outside + '/d/e/f0'], ['d/f0', outside + '/f0'], ['d', outside]]) {
        const at = root + '/' + name
        attempt(() => renameSync(at, root + '/away'))
        swaps += attempt(() => symlinkSync(to, at))
        for (let wait = 0; wait < 2000; wait++) Atomics.load(stopped, 0)
        attempt(() => unlinkSync(at))
        attempt(() => renameSync(root + '/away', at))
      }
    }
    parentPort.postMessage(swaps)`,
    { eval: true, workerData: { root, outside, stopped } },
  )
  const swaps = once(thread, 'message')
  const stop = async (): Promise<number> => {
    Atomics.store(stopped, 0, 1)
    return Number((await swaps)[0])
  }
  return {
    stop,
    async [Symbol.asyncDispose]() {
      await stop()
      await thread.terminate()
    },
  }
}

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
