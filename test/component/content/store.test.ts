import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdir, mkdtempDisposable, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { ContentStore } from '../../../src/content/store.ts'
import { type Digest, digestOf } from '../../../src/model/digest.ts'

const run = promisify(execFile)
const tempDir = () => mkdtempDisposable(join(tmpdir(), 'purser-content-'))
const bytes = randomBytes(300_000)
const digest = digestOf(bytes)
const whole = { digest, sizeBytes: bytes.length }
const ingestDir = (root: string, ref: string) => join(root, 'ingest', createHash('sha256').update(ref).digest('hex'))

test('a committed ingest is a blob that only its owner can read, and leaves nothing behind', async () => {
  await using dir = await tempDir()
  const store = await ContentStore.open(dir.path)
  await using ingest = await store.ingest('layer-1', whole)
  await ingest.write(bytes.subarray(0, 1000), bytes.subarray(1000, 1001))
  await ingest.write(bytes.subarray(1001))
  assert.deepEqual(await ingest.commit(), whole)

  const blob = join(dir.path, 'blobs', 'sha256', digest.slice(7))
  assert.equal(store.path(digest), blob)
  assert.deepEqual(await readFile(blob), bytes)
  assert.equal((await stat(blob)).mode & 0o777, 0o444)
  assert.equal((await stat(join(dir.path, 'blobs'))).mode & 0o777, 0o700)
  assert.deepEqual(await store.stat(digest), { sizeBytes: bytes.length })
  assert.deepEqual(await readdir(join(dir.path, 'ingest')), [])
})

test('an ingest is laid out as containerd has it', async () => {
  await using dir = await tempDir()
  const store = await ContentStore.open(dir.path)
  await using ingest = await store.ingest('layer-1', whole)
  await ingest.write(bytes.subarray(0, 10))
  const at = ingestDir(dir.path, 'layer-1')
  assert.equal(ingest.path, join(at, 'data'))
  assert.deepEqual((await readdir(at)).sort(), ['data', 'ref', 'startedat', 'total', 'updatedat'])
  assert.equal(await readFile(join(at, 'ref'), 'utf8'), 'layer-1')
  assert.equal(await readFile(join(at, 'total'), 'utf8'), '300000')
  const [info, ...others] = await Array.fromAsync(store.ingests())
  assert.deepEqual([info?.ref, info?.offsetBytes, info?.totalBytes, others.length], ['layer-1', 10, 300_000, 0])
})

test('an ingest that was closed goes on in another process, with what is there hashed again', async () => {
  await using dir = await tempDir()
  const first = await ContentStore.open(dir.path)
  await using half = await first.ingest('layer-1', whole)
  await half.write(bytes.subarray(0, 123_456))
  await half.close()

  const second = await ContentStore.open(dir.path)
  await using rest = await second.ingest('layer-1', whole)
  assert.equal(rest.offsetBytes, 123_456)
  await rest.write(bytes.subarray(123_456))
  await rest.commit()
  assert.deepEqual(await second.read(digest, { maxBytes: bytes.length }), bytes)
})

test('an ingest that holds more than the blob has starts from nothing', async () => {
  await using dir = await tempDir()
  const store = await ContentStore.open(dir.path)
  await using first = await store.ingest('layer-1')
  await first.write(bytes)
  await first.close()
  await using second = await store.ingest('layer-1', { digest: digestOf('x'), sizeBytes: 1 })
  assert.equal(second.offsetBytes, 0)
  await second.write(Buffer.from('x'))
  await second.commit()
})

test('wrong bytes are never committed nor resumed', async () => {
  await using dir = await tempDir()
  const store = await ContentStore.open(dir.path)
  const wrong = Buffer.from(bytes)
  wrong[77] = (wrong[77] ?? 0) ^ 1
  for (const hash of ['here', 'elsewhere'] as const) {
    await using ingest = await store.ingest('layer-1', { ...whole, hash })
    assert.equal(ingest.offsetBytes, 0)
    await ingest.write(wrong)
    await assert.rejects(ingest.commit(), { code: 'data_loss' })
  }
  await using ingest = await store.ingest('layer-1', { ...whole, hash: 'elsewhere' })
  await ingest.write(bytes)
  await assert.rejects(ingest.commit({ verifiedDigest: digestOf(wrong) }), { code: 'data_loss' })
  assert.equal(await store.stat(digest), undefined)
  assert.deepEqual(await Array.fromAsync(store.ingests()), [])
})

test('a commit that comes too early leaves the ingest open', async () => {
  await using dir = await tempDir()
  const store = await ContentStore.open(dir.path)
  await using ingest = await store.ingest('layer-1', whole)
  await ingest.write(bytes.subarray(0, 5))
  await assert.rejects(ingest.commit({ verifiedDigest: digest }), {
    code: 'failed_precondition',
    message: /5 of 300000/,
  })
  await ingest.write(bytes.subarray(5))
  await ingest.commit({ verifiedDigest: digest })
  assert.deepEqual(await store.stat(digest), { sizeBytes: bytes.length })
})

test('two ingests of one blob both commit, and the blob is there once', async () => {
  await using dir = await tempDir()
  const store = await ContentStore.open(dir.path)
  await using one = await store.ingest('one', whole)
  await using two = await store.ingest('two', whole)
  for (const ingest of [one, two]) await ingest.write(bytes)
  await Promise.all([one.commit(), two.commit()])
  assert.deepEqual(
    (await Array.fromAsync(store.list())).map((blob) => blob.digest),
    [digest],
  )
})

test('a reference has one writer at a time', async () => {
  await using dir = await tempDir()
  const store = await ContentStore.open(dir.path)
  const first = await store.ingest('layer-1', whole)
  await assert.rejects(store.ingest('layer-1', whole), { code: 'unavailable', message: /layer-1/ })
  await assert.rejects(store.removeIngest('layer-1'), { code: 'unavailable' })
  await first.close()
  await first.close()
  await using second = await store.ingest('layer-1', whole)
  await second.abort()
  await assert.rejects(second.write(bytes), { code: 'failed_precondition' })
  assert.deepEqual(await Array.fromAsync(store.ingests()), [])
})

test('truncate starts the bytes and their digest from nothing', async () => {
  await using dir = await tempDir()
  const store = await ContentStore.open(dir.path)
  await using ingest = await store.ingest('layer-1', whole)
  await ingest.write(Buffer.from('not this'))
  await ingest.truncate(0)
  assert.equal(ingest.offsetBytes, 0)
  await ingest.write(bytes)
  await ingest.commit()
})

test('without a digest to expect, commit says what it found', async () => {
  await using dir = await tempDir()
  const store = await ContentStore.open(dir.path)
  await using ingest = await store.ingest('upload')
  await ingest.write(bytes)
  assert.deepEqual(await ingest.commit(), whole)
})

test('sha512 content is kept and checked as such', async () => {
  await using dir = await tempDir()
  const store = await ContentStore.open(dir.path)
  const sha512: Digest = `sha512:${createHash('sha512').update(bytes).digest('hex')}`
  await using ingest = await store.ingest('layer-1', { digest: sha512, sizeBytes: bytes.length })
  await ingest.write(bytes)
  await ingest.commit()
  assert.deepEqual(await store.read(sha512, { maxBytes: 1e6 }), bytes)
})

test('documents are checked when written and when read', async () => {
  await using dir = await tempDir()
  const store = await ContentStore.open(dir.path)
  await assert.rejects(store.writeDocument(bytes, digestOf('other')), { code: 'data_loss' })
  await Promise.all([store.writeDocument(bytes, digest), store.writeDocument(bytes, digest)])
  await store.writeDocument(bytes, digest)
  assert.deepEqual(await store.read(digest, { maxBytes: bytes.length }), bytes)
  await assert.rejects(store.read(digest, { maxBytes: 10 }), { code: 'resource_exhausted', message: /300000/ })
  await assert.rejects(store.read(digestOf('absent'), { maxBytes: 10 }), { code: 'not_found' })

  assert.equal(store.remove(digest), true)
  await writeFile(store.path(digest), 'rotten')
  await assert.rejects(store.read(digest, { maxBytes: 10 }), { code: 'data_loss' })
  assert.equal(store.remove(digest), true)
  assert.equal(store.remove(digest), false)
})

test('a blob that somebody holds is not removed', async () => {
  await using dir = await tempDir()
  const store = await ContentStore.open(dir.path)
  const [first, second] = [store.hold(digest), store.hold(digest)] // Also before it is there.
  await store.writeDocument(bytes, digest)
  assert.equal(store.remove(digest), false)
  first[Symbol.dispose]()
  assert.equal(store.remove(digest), false)
  second[Symbol.dispose]()
  assert.equal(store.isHeld(digest), false)
  assert.equal(store.remove(digest), true)
})

test('what a crash left without a reference or without data is dropped on open, and the rest is kept', async () => {
  await using dir = await tempDir()
  const store = await ContentStore.open(dir.path)
  await using ingest = await store.ingest('layer-1', whole)
  await ingest.write(bytes.subarray(0, 10))
  await mkdir(join(dir.path, 'ingest', 'half-made'))
  await mkdir(join(dir.path, 'ingest', 'committed'))
  await writeFile(join(dir.path, 'ingest', 'committed', 'ref'), 'layer-2')
  await writeFile(join(dir.path, 'blobs', 'sha256', 'not-a-digest'), '')
  // A manifest that was being stored: whoever does so again has another reference.
  await using document = await store.ingest('document-of-a-process-that-was-killed', whole)
  await document.write(bytes.subarray(0, 10))

  const again = await ContentStore.open(dir.path)
  assert.deepEqual(
    (await Array.fromAsync(again.ingests())).map(({ ref }) => ref),
    ['layer-1'],
  )
  assert.equal((await readdir(join(dir.path, 'ingest'))).length, 1)
  assert.deepEqual(await Array.fromAsync(again.list()), [])
  await again.removeIngest('layer-1')
  await again.removeIngest('layer-1')
  assert.deepEqual(await Array.fromAsync(again.ingests()), [])
})

test('a full disk is said so, and the ingest goes on once there is room', async (t) => {
  await using dir = await tempDir()
  const disk = join(dir.path, 'disk')
  await mkdir(disk)
  try {
    await run('mount', ['-t', 'tmpfs', '-o', 'size=512k', 'tmpfs', disk])
  } catch {
    return t.skip('mounting takes root')
  }
  await using _ = { [Symbol.asyncDispose]: async () => void (await run('umount', ['-l', disk])) }
  const store = await ContentStore.open(join(disk, 'content'))
  const filler = join(disk, 'filler')
  await writeFile(filler, Buffer.alloc(256 * 1024))
  await using ingest = await store.ingest('layer-1', whole)
  await ingest.write(bytes.subarray(0, 100_000))
  await assert.rejects(ingest.write(bytes.subarray(100_000)), { code: 'resource_exhausted', remedy: /free space/ })
  assert.equal(ingest.offsetBytes, 100_000)
  await ingest.close()

  await writeFile(filler, '')
  await using again = await store.ingest('layer-1', whole)
  assert.equal(again.offsetBytes, 100_000)
  await again.write(bytes.subarray(100_000))
  assert.deepEqual(await again.commit(), whole)
})
