import assert from 'node:assert/strict'
import { generateKeyPairSync, hash, randomInt } from 'node:crypto'
import { cp, mkdtemp, readdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Archive, type Entry } from '../../../src/archive/archive.ts'
import { leafHash } from '../../../src/archive/merkle.ts'
import { type Signer, verifierOf } from '../../../src/archive/note.ts'
import { checkConsistency, checkInclusion, proveConsistency, proveInclusion } from '../../../src/archive/proofs.ts'
import { encodeSegment, inflate, parseSegment } from '../../../src/archive/segment.ts'
import { verifyArchive } from '../../../src/archive/verify.ts'

const signer: Signer = { name: 'purser/nodes/test', key: generateKeyPairSync('ed25519').privateKey }
const verifier = verifierOf(signer)

const entries = (first: number, count: number): Entry[] =>
  Array.from({ length: count }, (_, index) => {
    const position = first + index
    const time = new Date(1_800_000_000_000 + position * 1000).toISOString()
    return { line: JSON.stringify({ position, id: `event-${position}`, time, data: { n: position * 7 } }), time }
  })

async function newDir(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'archive-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

/** An archive of segments of these sizes. */
async function sealed(dir: string, sizes: readonly number[]): Promise<void> {
  await using archive = await Archive.open(dir, signer)
  for (const size of sizes) await archive.seal(entries(archive.last + 1, size))
}

const SIZES = [3, 253, 1, 512, 300, 40]
const TOTAL = SIZES.reduce((sum, size) => sum + size, 0)

async function* filesOf(dir: string): AsyncGenerator<string> {
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) yield join(entry.parentPath, entry.name)
}

const segmentFile = async (dir: string, index: number): Promise<string> => {
  const names = (await readdir(join(dir, 'segments'))).sort()
  return join(dir, 'segments', names.at(index) ?? '')
}

const lines = async (archive: Archive, after = 0, through?: number): Promise<string[]> =>
  (await Array.fromAsync(archive.read(after, through))).map(({ line }) => line.toString())

test('what was sealed is read back, in any range, also after it was opened again', async () => {
  await using dir = await newDir()
  await sealed(dir.path, SIZES)
  await using archive = await Archive.open(dir.path, signer)
  assert.equal(archive.last, TOTAL)
  const all = entries(1, TOTAL).map(({ line }) => line)
  assert.deepEqual(await lines(archive), all)
  for (let round = 0; round < 20; round++) {
    const after = randomInt(TOTAL)
    const through = randomInt(after, TOTAL + 5)
    assert.deepEqual(await lines(archive, after, through), all.slice(after, through))
  }
})

test('a segment is readable with zstdcat and jq alone', async () => {
  const { execa } = await import('execa')
  await using dir = await newDir()
  await sealed(dir.path, [3, 2])
  const files = [await segmentFile(dir.path, 0), await segmentFile(dir.path, 1)]
  const { stdout } = await execa('zstdcat', files)
  assert.deepEqual(
    stdout.split('\n'),
    entries(1, 5).map(({ line }) => line),
  )
})

test('an event is found by time', async () => {
  await using dir = await newDir()
  await sealed(dir.path, SIZES)
  await using archive = await Archive.open(dir.path, signer)
  for (const position of [1, 3, 4, 256, 700, TOTAL]) {
    const timeMs = 1_800_000_000_000 + position * 1000
    assert.equal(await archive.positionBefore(timeMs), position - 1)
    assert.equal(await archive.positionBefore(timeMs + 1), position)
  }
  assert.equal(await archive.positionBefore(0), 0)
})

test('an untouched archive verifies, whole or in part, with other tools than its own state', async () => {
  await using dir = await newDir()
  await sealed(dir.path, SIZES)
  const whole = await verifyArchive({ dir: dir.path, verifier })
  assert.equal(whole.fault, undefined)
  assert.deepEqual([whole.first, whole.last, whole.events, whole.segments], [1, TOTAL, TOTAL, SIZES.length])
  for (let round = 0; round < 10; round++) {
    const from = randomInt(1, TOTAL)
    const to = randomInt(from, TOTAL)
    const part = await verifyArchive({ dir: dir.path, verifier, from, to })
    assert.equal(part.fault, undefined, `${from}-${to}: ${part.fault?.detail}`)
    assert.equal(part.events, to - from + 1)
  }
})

test('every event is proved to be in the log, and no other', async () => {
  await using dir = await newDir()
  await sealed(dir.path, SIZES)
  await using archive = await Archive.open(dir.path, signer)
  for (const position of [1, 2, 256, 257, 512, 768, 769, TOTAL]) {
    const proof = JSON.parse(JSON.stringify(await proveInclusion(archive, position)))
    const checked = checkInclusion(proof, verifier)
    assert.equal(checked.position, position)
    assert.equal(checked.head.size, TOTAL)
    for (const altered of [
      { ...proof, event: proof.event.replace('event-', 'Event-') },
      { ...proof, position: position + 1 },
      { ...proof, path: proof.path.slice(1) },
    ])
      assert.throws(() => checkInclusion(altered, verifier), { code: 'data_loss' })
  }
  await assert.rejects(proveInclusion(archive, TOTAL + 1), { code: 'out_of_range' })
})

test('a log that grew is consistent with each earlier head; one that was rewritten is not', async () => {
  await using dir = await newDir()
  await using other = await newDir()
  const heads: string[] = []
  await using archive = await Archive.open(dir.path, signer)
  for (const size of SIZES) {
    heads.push(archive.checkpoint)
    await archive.seal(entries(archive.last + 1, size))
  }
  await using rewritten = await Archive.open(other.path, signer)
  const altered = entries(1, TOTAL).with(1, { line: '{"position":2,"id":"forged"}', time: '' })
  await rewritten.seal(altered)
  for (const head of heads) {
    const proof = await proveConsistency(archive, head, verifier)
    assert.equal(checkConsistency(proof, verifier).head.size, TOTAL)
    const forged = await proveConsistency(rewritten, head, verifier)
    if (checkConsistency(proof, verifier).old.size > 1)
      assert.throws(() => checkConsistency(forged, verifier), { code: 'data_loss' })
  }
})

test('any bit flipped in any file is found', async (t: TestContext) => {
  await using dir = await newDir()
  await sealed(dir.path, SIZES)
  for await (const path of filesOf(dir.path)) {
    if (path.endsWith('key.pub')) continue // A copy: who distrusts the host has the key from elsewhere.
    const bytes = await readFile(path)
    const instants = new Set([0, bytes.length - 1, ...Array.from({ length: 25 }, () => randomInt(bytes.length))])
    for (const at of instants) {
      const bit = randomInt(8)
      await writeFile(path, bytes.with(at, (bytes[at] ?? 0) ^ (1 << bit)))
      const { fault } = await verifyArchive({ dir: dir.path, verifier })
      assert.ok(fault, `bit ${bit} of byte ${at} of ${path}`)
    }
    await writeFile(path, bytes)
  }
  t.diagnostic('each file, its ends and 25 random bytes')
  assert.equal((await verifyArchive({ dir: dir.path, verifier })).fault, undefined)
})

/** Rewrites a segment as somebody would who knows the format but has no key. */
async function forge(path: string, change: (lines: string[]) => string[], index: 'kept' | 'made anew'): Promise<void> {
  const { footer, leafPrefixes, frameBytes } = parseSegment(path, await readFile(path))
  const { lines: plain } = await inflate((await readFile(path)).subarray(0, frameBytes))
  const changed = change(plain.toString('utf8', 1).trimEnd().split('\n'))
  const prefixes = index === 'kept' ? leafPrefixes : Buffer.concat(changed.map((line) => leafHash(line).subarray(0, 4)))
  await writeFile(path, await encodeSegment(Buffer.from(`${changed.join('\n')}\n`), footer, prefixes))
}

const renumbered = (all: string[], first: number): string[] =>
  all.map((line, index) => line.replace(/"position":\d+/, `"position":${first + index}`))

const FORGERIES: {
  name: string
  segment: number
  change: (all: string[]) => string[]
  kind: string
  position: number
}[] = [
  {
    name: 'altered',
    segment: 3,
    change: (all) => all.map((line, index) => (index === 100 ? line.replace('"n":', '"n":9') : line)),
    kind: 'altered',
    position: 358,
  },
  { name: 'taken out', segment: 3, change: (all) => all.toSpliced(50, 1), kind: 'missing', position: 308 },
  {
    name: 'taken out, the others renumbered',
    segment: 3,
    change: (all) => renumbered([...all.toSpliced(50, 1), all[0] ?? ''], 258),
    kind: 'altered',
    position: 308,
  },
  {
    name: 'swapped',
    segment: 4,
    change: (all) => all.with(9, all[12] ?? '').with(12, all[9] ?? ''),
    kind: 'missing',
    position: 779,
  },
  {
    name: 'moved to the front',
    segment: 4,
    change: (all) => all.toSpliced(12, 1).toSpliced(40, 0, all[12] ?? ''),
    kind: 'missing',
    position: 782,
  },
  {
    name: 'doubled',
    segment: 1,
    change: (all) => all.toSpliced(7, 0, all[6] ?? '').slice(0, -1),
    kind: 'inserted',
    position: 11,
  },
]

for (const { name, segment, change, kind, position } of FORGERIES) {
  test(`an event that was ${name} is named`, async () => {
    await using dir = await newDir()
    await sealed(dir.path, SIZES)
    await forge(await segmentFile(dir.path, segment), change, 'kept')
    const { fault } = await verifyArchive({ dir: dir.path, verifier })
    assert.deepEqual({ kind: fault?.kind, position: fault?.position }, { kind, position })
  })
}

test('a forger who makes the indexes anew as well is found by the signed root, and the segment is named', async () => {
  await using dir = await newDir()
  await using own = await newDir()
  await sealed(dir.path, SIZES)
  const path = await segmentFile(dir.path, 3)
  await forge(path, (all) => all.with(100, '{"position":358,"id":"forged","time":""}'), 'made anew')
  // The tree as his own archive of the same events has it, which he cannot sign.
  const forger = { name: signer.name, key: generateKeyPairSync('ed25519').privateKey }
  await using theirs = await Archive.open(own.path, forger)
  const all = entries(1, TOTAL).with(357, { line: '{"position":358,"id":"forged","time":""}', time: '' })
  for (let at = 0; at < SIZES.length; at++) await theirs.seal(all.slice(theirs.last, theirs.last + (SIZES[at] ?? 0)))
  await cp(join(own.path, 'tree'), join(dir.path, 'tree'))
  const { fault } = await verifyArchive({ dir: dir.path, verifier })
  assert.equal(fault?.kind, 'altered')
  assert.equal(fault?.file, path)
  const otherKey = await verifyArchive({ dir: dir.path, verifier: verifierOf(forger) })
  assert.equal(otherKey.fault?.kind, 'unsigned')
})

test('a segment that is deleted, cut or in the place of another is named', async () => {
  await using dir = await newDir()
  await sealed(dir.path, SIZES)
  const at = (index: number) => segmentFile(dir.path, index)
  const [second, third, last] = [await at(1), await at(2), await at(-1)]
  const fault = async () => (await verifyArchive({ dir: dir.path, verifier })).fault

  await rename(second, `${second}.gone`)
  assert.deepEqual([(await fault())?.kind, (await fault())?.position], ['missing', 4])
  await assert.rejects(Archive.open(dir.path, signer), { code: 'data_loss' })
  await rename(`${second}.gone`, second)

  await rename(last, `${last}.gone`)
  assert.deepEqual([(await fault())?.kind, (await fault())?.position], ['missing', 1070])
  await rename(`${last}.gone`, last)

  const bytes = await readFile(second)
  await truncate(second, Math.floor((await stat(second)).size / 2))
  assert.equal((await fault())?.position, 4)
  await writeFile(second, await readFile(third))
  assert.equal((await fault())?.kind, 'reordered')
  await writeFile(second, bytes)
  assert.equal(await fault(), undefined)
})

test('what a crash left half done is removed, and sealing goes on where the last whole segment ended', async () => {
  await using dir = await newDir()
  await sealed(dir.path, SIZES)
  const tree = join(dir.path, 'tree')
  const hashes = await readFile(tree)
  // Cut off before the rename: hashes of tiles that are in no segment, and a file without its name.
  await writeFile(tree, Buffer.concat([hashes, hash('sha256', 'no such tile', 'buffer')]))
  await writeFile(join(dir.path, 'segments', 'x.partial'), 'half')
  await sealed(dir.path, [600])
  // Cut off before the checkpoint was written, and with the tree's end lost.
  await writeFile(join(dir.path, 'checkpoint'), 'old')
  await truncate(tree, 33)
  await sealed(dir.path, [1])
  const { fault, events } = await verifyArchive({ dir: dir.path, verifier })
  assert.deepEqual(fault, undefined)
  assert.equal(events, TOTAL + 601)
})

test('segments dropped by retention leave their hashes: the rest verifies and is proved as before', async () => {
  await using dir = await newDir()
  await sealed(dir.path, SIZES)
  {
    await using archive = await Archive.open(dir.path, signer)
    const before = await proveInclusion(archive, 800)
    assert.deepEqual(
      (await archive.drop(400)).map(({ last }) => last),
      [3, 256, 257],
    )
    assert.equal(archive.first, 258)
    assert.deepEqual(await proveInclusion(archive, 800), before)
    await assert.rejects(proveInclusion(archive, 257), { code: 'out_of_range' })
  }
  await sealed(dir.path, [300])
  await using archive = await Archive.open(dir.path, signer)
  assert.equal(archive.first, 258)
  const { fault, first, last } = await verifyArchive({ dir: dir.path, verifier })
  assert.deepEqual(fault, undefined)
  assert.deepEqual([first, last], [258, TOTAL + 300])
  assert.equal(checkInclusion(await proveInclusion(archive, 258), verifier).position, 258)
})
