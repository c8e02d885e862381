import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { crc32, deflateRawSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { startExtractor } from '../../support/layers.ts'
import { sha256, type TestEntry, tarOf } from '../../support/tars.ts'
import { describeTree } from '../../support/trees.ts'

const FILES: readonly TestEntry[] = [
  { name: 'etc/', flag: '5' },
  { name: 'etc/hosts', data: '127.0.0.1 localhost\n' },
  { name: 'bin/', flag: '5' },
  { name: 'bin/large', data: Buffer.alloc(300_000, 'abc') },
  { name: 'bin/link', flag: '2', link: 'large' },
]

/** One piece of a tar for each entry, and what ends it. */
const pieces = (entries: readonly TestEntry[]): Buffer[] => [
  ...entries.map((entry) => tarOf([entry], 'cut')),
  Buffer.alloc(1024),
]

/** An empty gzip member whose extra field says where the table of contents is. @see stargz-snapshotter, docs/estargz.md */
function stargzFooter(tocOffset: number): Buffer {
  const payload = Buffer.from(`${tocOffset.toString(16).padStart(16, '0')}STARGZ`)
  const extra = Buffer.concat([Buffer.from('SG'), Buffer.from([payload.length, 0]), payload])
  const header = Buffer.from([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, extra.length, 0])
  const end = Buffer.alloc(8)
  end.writeUInt32LE(crc32(''), 0)
  return Buffer.concat([header, extra, deflateRawSync(Buffer.alloc(0), { level: 0 }), end])
}

function estargz(): { layer: Buffer; tar: Buffer } {
  const landmark: TestEntry = { name: '.prefetch.landmark', data: Buffer.from([0xf]) }
  const toc: TestEntry = { name: 'stargz.index.json', data: JSON.stringify({ version: 1, entries: [] }) }
  const entries = pieces([...FILES, landmark])
  const members = entries.slice(0, -1).map((piece) => gzipSync(piece))
  const last = Buffer.concat([tarOf([toc], 'cut'), Buffer.alloc(1024)])
  const offset = members.reduce((sum, { length }) => sum + length, 0)
  return {
    layer: Buffer.concat([...members, gzipSync(last), stargzFooter(offset)]),
    tar: Buffer.concat([...entries.slice(0, -1), last]),
  }
}

/** @see RFC 8878 section 3.1.2 */
function skippable(content: Buffer): Buffer {
  const header = Buffer.alloc(8)
  header.writeUInt32LE(0x184d2a50, 0)
  header.writeUInt32LE(content.length, 4)
  return Buffer.concat([header, content])
}

/** @see containers/storage, pkg/chunked/internal: frames of files, then their index and a footer in frames to be skipped */
function zstdChunked(): { layer: Buffer; tar: Buffer } {
  const entries = pieces(FILES)
  const frames = entries.map((piece) => zstdCompressSync(piece))
  const manifest = zstdCompressSync(Buffer.from(JSON.stringify({ version: 1, entries: [] })))
  const footer = Buffer.alloc(64)
  footer.writeBigUInt64LE(BigInt(frames.reduce((sum, { length }) => sum + length, 0) + 8), 0)
  footer.writeBigUInt64LE(BigInt(manifest.length), 8)
  footer.write('GNUlInUx', 56)
  return { layer: Buffer.concat([...frames, skippable(manifest), skippable(footer)]), tar: Buffer.concat(entries) }
}

test('an eStargz layer is read as the plain gzip that it is; its index is a file, as in containerd', async () => {
  await using extractor = startExtractor()
  const { layer, tar } = estargz()
  const { digest, diffId, target } = await extractor.extract(layer)
  assert.deepEqual([digest, diffId], [sha256(layer), sha256(tar)])
  assert.deepEqual(readdirSync(target), ['.prefetch.landmark', 'bin', 'etc', 'stargz.index.json'])
  assert.equal(readFileSync(join(target, 'etc/hosts'), 'utf8'), '127.0.0.1 localhost\n')
})

test('a zstd:chunked layer is read as the plain zstd that it is; its index is not seen', async () => {
  await using extractor = startExtractor()
  const { layer, tar } = zstdChunked()
  const { digest, diffId, target } = await extractor.extract(layer)
  assert.deepEqual([digest, diffId], [sha256(layer), sha256(tar)])
  const plain = await extractor.extract(tarOf(FILES), { name: 'plain' })
  assert.deepEqual(describeTree(target, ['']), describeTree(plain.target, ['']))
})

test('such layers that are cut off anywhere are refused', async () => {
  await using extractor = startExtractor()
  for (const { layer } of [estargz(), zstdChunked()]) {
    for (const length of [layer.length - 1, layer.length - 30, Math.floor(layer.length / 2), 100]) {
      await assert.rejects(extractor.extract(layer.subarray(0, length)), { code: 'data_loss' }, `${length} bytes`)
    }
  }
})
