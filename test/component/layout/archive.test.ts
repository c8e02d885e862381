import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { archivedImages } from '../../../src/layout/archived-images.ts'
import { TarFile } from '../../../src/layout/tar-file.ts'
import { Uploads } from '../../../src/layout/uploads.ts'
import { archiveOf } from '../../../src/layout/write-archive.ts'
import type { Digest } from '../../../src/model/digest.ts'
import { MEDIA_TYPES } from '../../../src/oci/media-types.ts'

const run = promisify(execFile)
const signal = AbortSignal.timeout(60_000)
let dir = ''

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'layout-'))
})
after(() => rm(dir, { recursive: true }))

const sha512 = (bytes: Buffer): Digest => `sha512:${createHash('sha512').update(bytes).digest('hex')}`

test('an archive is what tar and our own reader read, names beyond 100 bytes included', async () => {
  const blob = Buffer.from('a blob of an odd length')
  const digest = sha512(blob)
  const name = 'docker.io/library/a:1'
  const target = { mediaType: MEDIA_TYPES.ociManifest, digest, sizeBytes: blob.length }
  const blobs = [{ digest, sizeBytes: blob.length }]
  const open = async function* () {
    yield blob.subarray(0, 7)
    yield blob.subarray(7)
  }
  const bytes = await Array.fromAsync(
    archiveOf({ images: [{ name, target, config: digest, layers: [digest] }], blobs, open }, signal),
  )
  const file = join(dir, 'long.tar')
  await writeFile(file, Buffer.concat(bytes))
  const long = `blobs/sha512/${digest.slice(7)}`
  const listed = (await run('tar', ['-tf', file])).stdout.trim().split('\n')
  assert.deepEqual(listed, ['oci-layout', 'index.json', 'manifest.json', long])
  assert.equal((await run('tar', ['-xOf', file, long])).stdout, blob.toString())
  await using archive = await TarFile.open(file, signal)
  assert.deepEqual(await archive.read(long, 1000), blob)
  const [image] = await archivedImages(archive)
  assert.equal(image?.name, name)
})

test('a blob that is not as long as it should be breaks the archive off', async () => {
  const digest = sha512(Buffer.from('x'))
  for (const [given, sizeBytes] of [
    ['ab', 3],
    ['abcd', 3],
  ] as const) {
    const open = async function* () {
      yield Buffer.from(given)
    }
    const bytes = archiveOf({ images: [], blobs: [{ digest, sizeBytes }], open }, signal)
    await assert.rejects(Array.fromAsync(bytes), { code: 'data_loss' })
  }
})

test('names of GNU tar and of pax are read, and a symbolic link leads to its file', async () => {
  const long = `${'directory/'.repeat(15)}file`
  await run('mkdir', ['-p', join(dir, 'in', 'directory/'.repeat(15))])
  await writeFile(join(dir, 'in', long), 'content')
  await run('ln', ['-s', 'directory', join(dir, 'in/link')])
  await run('ln', ['-s', `directory/../${long}`, join(dir, 'in/shortcut')])
  for (const format of ['gnu', 'pax', 'posix']) {
    const file = join(dir, `${format}.tar`)
    await run('tar', [`--format=${format}`, '-C', join(dir, 'in'), '-cf', file, '.'])
    await using archive = await TarFile.open(file, signal)
    assert.equal((await archive.read(long, 100)).toString(), 'content')
    assert.equal((await archive.read('shortcut', 100)).toString(), 'content')
    await assert.rejects(archive.read(long, 3), { code: 'resource_exhausted' })
    await assert.rejects(archive.read('absent', 3), { code: 'not_found' })
  }
})

test('pieces of an upload follow each other; what is used is not removed, and ids are no paths', async () => {
  const uploads = await Uploads.open(join(dir, 'uploads'), 1000)
  const body = async function* (text: string) {
    yield Buffer.from(text)
  }
  assert.deepEqual(await uploads.append('a', 0, body('one'), signal), { sizeBytes: 3 })
  await assert.rejects(uploads.append('a', 2, body('x'), signal), {
    code: 'failed_precondition',
    message: /has 3 bytes/,
  })
  assert.deepEqual(await uploads.append('a', 3, body('two'), signal), { sizeBytes: 6 })
  await assert.rejects(uploads.append('a', 6, body('x'.repeat(1000)), signal), { code: 'resource_exhausted' })
  {
    using _ = await uploads.use('a', signal)
    await assert.rejects(uploads.remove('a'), { code: 'unavailable' })
    await assert.rejects(uploads.append('a', 0, body('x'), signal), { code: 'unavailable' })
  }
  await uploads.remove('a')
  await assert.rejects(uploads.use('a', signal), { code: 'not_found' })
  for (const id of ['../a', '', '.', 'a/b', 'x'.repeat(65)]) {
    await assert.rejects(uploads.append(id, 0, body('x'), signal), { code: 'invalid_argument' })
  }
})
