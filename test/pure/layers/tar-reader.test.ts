import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import fc from 'fast-check'
import { pack } from 'tar-stream'
import { DEFAULT_LIMITS } from '../../../src/layers/limits.ts'
import type { TarEntry } from '../../../src/layers/tar/header.ts'
import { TarReader } from '../../../src/layers/tar/reader.ts'
import { headerOf, type TestEntry, tarOf } from '../../support/tars.ts'

interface Read {
  entry: TarEntry
  content: Buffer
}

/** Reads a tar that arrives in pieces of the given lengths, over and over. */
function read(tar: Buffer, pieces: readonly number[] = [tar.length], limits = DEFAULT_LIMITS): Read[] {
  const found: Read[] = []
  const reader = new TarReader(
    {
      entry: (entry) => found.push({ entry, content: Buffer.alloc(entry.sizeBytes) }),
      data: (piece, position) => {
        piece.copy(found.at(-1)?.content ?? Buffer.alloc(0), position)
      },
      entryEnd() {},
    },
    limits,
  )
  for (let at = 0, index = 0; at < tar.length; index += 1) {
    const length = pieces[index % pieces.length] ?? 1
    reader.write(tar.subarray(at, at + length))
    at += length
  }
  reader.end()
  return found
}

const only = (entry: TestEntry): TarEntry => {
  const [first] = read(tarOf([entry]))
  assert.ok(first)
  return first.entry
}

const name = fc.stringMatching(/^[a-zä]{1,120}$/)
const file = fc.record({
  name: fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/')),
  data: fc.uint8Array({ maxLength: 3000 }).map((bytes) => Buffer.from(bytes)),
  uid: fc.nat(0o777777),
  mode: fc.integer({ min: 1, max: 0o7777 }),
})

test('what tar-stream packs is read, however the bytes are cut', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(file, { maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 1500 }), { minLength: 1, maxLength: 5 }),
      async (files, pieces) => {
        const packed = pack()
        for (const { data, ...header } of files) packed.entry({ ...header, mtime: new Date(1e12) }, data)
        packed.finalize()
        const parts: Buffer[] = []
        packed.on('data', (part) => {
          if (Buffer.isBuffer(part)) parts.push(part)
        })
        await once(packed, 'end')
        const tar = Buffer.concat(parts)
        const expected = files.map((each) => [each.name, each.uid, each.mode, each.data.toString('hex')])
        const actual = read(tar, pieces).map(({ entry, content }) => [
          Buffer.from(entry.path, 'latin1').toString('utf8'),
          entry.uid,
          entry.mode,
          content.toString('hex'),
        ])
        assert.deepEqual(actual, expected)
      },
    ),
    { numRuns: 60 },
  )
})

test('any bytes give entries or a refusal, never another error', () => {
  const valid = tarOf([
    { name: 'a', data: 'x'.repeat(700), pax: { mtime: '1.5' } },
    { name: 'b', flag: '5' },
  ])
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { maxLength: 4 }), (changes) => {
      const tar = Buffer.from(valid)
      for (const [at, byte] of changes) tar[at] = byte
      try {
        read(tar, [777])
      } catch (error) {
        assert.equal(error instanceof Error && error.name, 'PurserError', String(error))
      }
    }),
  )
})

test('pax records set path, link, size, owner, time and extended attributes of the next entry alone', () => {
  const [first, second] = read(
    tarOf([
      {
        name: 'short',
        data: 'abc',
        pax: {
          path: `${'d/'.repeat(100)}long`,
          uid: '3000000',
          gid: '4000000',
          mtime: '1700000000.123456789',
          'SCHILY.xattr.user.bin': Buffer.from([0, 10, 61, 255]),
          'LIBARCHIVE.xattr.user.%6eame': 'dmFsdWU=',
        },
      },
      { name: 'plain' },
    ]),
  )
  assert.equal(first?.entry.path, `${'d/'.repeat(100)}long`)
  assert.deepEqual([first.entry.uid, first.entry.gid], [3_000_000, 4_000_000])
  assert.deepEqual(first.entry.mtime, { seconds: 1_700_000_000, nanoseconds: 123_456_789 })
  assert.deepEqual(first.entry.xattrs.get('user.bin'), Buffer.from([0, 10, 61, 255]))
  assert.deepEqual(first.entry.xattrs.get('user.name'), Buffer.from('value'))
  assert.equal(second?.entry.path, 'plain')
  assert.equal(second.entry.xattrs.size, 0)
})

test('a global pax header holds for all that follow, until an entry says otherwise', () => {
  const records = '12 uid=1234\n'
  const tar = Buffer.concat([
    tarOf([{ name: 'g', flag: 'g', data: records }], 'cut'),
    tarOf([{ name: 'a' }, { name: 'b', pax: { uid: '5' } }, { name: 'c' }]),
  ])
  assert.deepEqual(
    read(tar).map(({ entry }) => entry.uid),
    [1234, 5, 1234],
  )
})

test('a time before 1970 with decimals lies above its whole second', () => {
  const { mtime } = only({ name: 'a', pax: { mtime: '-1.25' } })
  assert.deepEqual(mtime, { seconds: -2, nanoseconds: 750_000_000 })
})

test('numbers in base 256 are read, negative ones too', () => {
  const header = headerOf({ name: 'big' })
  Buffer.from([0x80, 0, 0, 0, 0, 0x2d, 0xc6, 0xc0]).copy(header, 108) // uid 3000000
  Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]).copy(header, 136) // mtime -2
  header.fill(' ', 148, 156)
  header.write(
    `${header
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148,
  )
  const [found] = read(Buffer.concat([header, Buffer.alloc(1024)]))
  assert.equal(found?.entry.uid, 3_000_000)
  assert.equal(found.entry.mtime.seconds, -2)
})

test('sparse pax maps of 0.1 and 1.0 put data where it belongs', () => {
  const data = Buffer.from('headtail')
  const expected = Buffer.concat([Buffer.from('head'), Buffer.alloc(996), Buffer.from('tail')])
  const map = Buffer.alloc(512)
  map.write('2\n0\n4\n1000\n4\n')
  const real = { 'GNU.sparse.name': 'real' }
  const variants: TestEntry[] = [
    { name: 'v', data, pax: { ...real, 'GNU.sparse.size': '1004', 'GNU.sparse.map': '0,4,1000,4' } },
    {
      name: 'v',
      data: Buffer.concat([map, data]),
      pax: { ...real, 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.realsize': '1004' },
    },
  ]
  for (const variant of variants) {
    const [found] = read(tarOf([variant]), [100])
    assert.equal(found?.entry.path, 'real')
    assert.deepEqual(found.content, expected)
  }
})

const refused: Record<string, { tar: Buffer; code: string }> = {
  'a wrong checksum': { tar: Buffer.concat([Buffer.alloc(512, 'x')]), code: 'data_loss' },
  'an end within the data': { tar: tarOf([{ name: 'a', size: 600, data: 'abc' }], 'cut'), code: 'data_loss' },
  'an end within a header': { tar: headerOf({ name: 'a' }).subarray(0, 300), code: 'data_loss' },
  'a pax record cut off': { tar: tarOf([{ name: 'x', flag: 'x', data: '99 path=a\n' }]), code: 'data_loss' },
  'a pax size that is no number': { tar: tarOf([{ name: 'a', pax: { size: '-5' } }]), code: 'data_loss' },
  'a path with a zero byte': { tar: tarOf([{ name: 'a', pax: { path: 'a\0b' } }]), code: 'data_loss' },
  'an extended header of 2 MiB': {
    tar: tarOf([{ name: 'x', flag: 'x', data: Buffer.alloc(2 ** 21) }]),
    code: 'resource_exhausted',
  },
  'a path of 5000 bytes': { tar: tarOf([{ name: 'a', pax: { path: 'a'.repeat(5000) } }]), code: 'resource_exhausted' },
  'the owner -1, which means no change': { tar: tarOf([{ name: 'a', pax: { uid: '4294967295' } }]), code: 'data_loss' },
  'sparse regions that overlap': {
    tar: tarOf([{ name: 'a', data: '12345678', pax: { 'GNU.sparse.size': '10', 'GNU.sparse.map': '0,4,2,4' } }]),
    code: 'data_loss',
  },
  'a sparse region beyond the file': {
    tar: tarOf([{ name: 'a', data: '1234', pax: { 'GNU.sparse.size': '10', 'GNU.sparse.map': '8,4' } }]),
    code: 'data_loss',
  },
  'a single zero block between entries': {
    tar: Buffer.concat([Buffer.alloc(512), tarOf([{ name: 'a' }])]),
    code: 'data_loss',
  },
}

for (const [what, { tar, code }] of Object.entries(refused)) {
  test(`a tar with ${what} is refused`, () => {
    assert.throws(() => read(tar, [313]), { name: 'PurserError', code })
  })
}

test('more entries than the limit are refused', () => {
  const tar = tarOf([{ name: 'a' }, { name: 'b' }, { name: 'c' }])
  assert.throws(() => read(tar, [512], { ...DEFAULT_LIMITS, entriesMax: 2 }), { code: 'resource_exhausted' })
})
