import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { AvailableBytes } from '../../../src/layers/available-bytes.ts'
import { LayerPool } from '../../../src/layers/pool.ts'
import { PurserError } from '../../../src/model/errors.ts'
import { startExtractor } from '../../support/layers.ts'
import { sha256, sha512, tarOf } from '../../support/tars.ts'
import { temporaryDirectory } from '../../support/trees.ts'

const within = () => AbortSignal.timeout(30_000)
const content = randomBytes(1_000_000)
const tar = tarOf([{ name: 'random', data: content }])
const layer = gzipSync(tar)

/** A file that is written while it is read. */
function growingFile(path: string, bytes: Buffer) {
  const available = new AvailableBytes()
  writeFileSync(path, '')
  let at = 0
  return {
    available,
    source: { path, sizeBytes: bytes.length },
    append(lengthBytes: number) {
      appendFileSync(path, bytes.subarray(at, at + lengthBytes))
      at = Math.min(bytes.length, at + lengthBytes)
      available.advance(at)
      return at < bytes.length
    },
  }
}

test('a layer is extracted while its file is still growing', async () => {
  using work = temporaryDirectory()
  const pool = new LayerPool({ threads: 1 })
  const file = growingFile(join(work.path, 'layer'), layer)
  const target = join(work.path, 'root')
  mkdirSync(target)
  const seen: number[] = []
  const onProgress = (progress: { tarBytes: number }) => seen.push(progress.tarBytes)
  const extracting = pool.extract({ ...file, target, whiteouts: 'ignore', onProgress }, within())
  while (file.append(77_777)) await delay(20)
  const { digest, diffId } = await extracting
  assert.deepEqual([digest, diffId], [sha256(layer), sha256(tar)])
  assert.deepEqual(readFileSync(join(target, 'random')), content)
  assert.equal(seen.at(-1), tar.length)
  await pool.close()
})

test('a thread that waits for bytes holds up nobody else', async () => {
  using work = temporaryDirectory()
  const pool = new LayerPool({ threads: 1 })
  const slow = growingFile(join(work.path, 'slow'), layer)
  slow.append(300_000)
  const extracting = pool.extract({ ...slow, target: undefined, whiteouts: 'ignore' }, within())
  writeFileSync(join(work.path, 'whole'), layer)
  const whole = { path: join(work.path, 'whole'), sizeBytes: layer.length }
  const { digest } = await pool.extract({ source: whole, target: undefined, whiteouts: 'ignore' }, within())
  assert.equal(digest, sha256(layer))
  while (slow.append(300_000));
  assert.equal((await extracting).digest, sha256(layer))
  await pool.close()
})

test('the first bytes may arrive one by one', async () => {
  using work = temporaryDirectory()
  const pool = new LayerPool({ threads: 1 })
  const small = gzipSync(tarOf([{ name: 'a', data: 'small' }]))
  const file = growingFile(join(work.path, 'layer'), small)
  const extracting = pool.extract({ ...file, target: undefined, whiteouts: 'ignore' }, within())
  while (file.append(1)) await delay(0)
  assert.equal((await extracting).digest, sha256(small))
  await pool.close()
})

test('a download that fails ends its extraction with its own error', async () => {
  using work = temporaryDirectory()
  const pool = new LayerPool({ threads: 1 })
  for (const bytes of [0, 500_000]) {
    const file = growingFile(join(work.path, `layer-${bytes}`), layer)
    if (bytes > 0) file.append(bytes)
    const extracting = pool.extract({ ...file, target: undefined, whiteouts: 'ignore' }, within())
    setTimeout(() => file.available.fail(new PurserError('unavailable', 'the registry is away')), 50)
    await assert.rejects(extracting, { code: 'unavailable', message: 'the registry is away' })
  }
  await pool.close()
})

test('an abort stops an extraction that waits for a thread, for bytes, or works', async () => {
  using work = temporaryDirectory()
  const pool = new LayerPool({ threads: 1 })
  const zeros = join(work.path, 'zeros')
  writeFileSync(zeros, gzipSync(Buffer.alloc(2 ** 28)))
  const working = { path: zeros, sizeBytes: readFileSync(zeros).length }
  const waiting = growingFile(join(work.path, 'layer'), layer)
  waiting.append(300_000)
  const requests = [{ source: working }, { source: waiting.source, available: waiting.available }]
  for (const request of requests) {
    const stop = new AbortController()
    const first = pool.extract({ ...request, target: undefined, whiteouts: 'ignore' }, stop.signal)
    const queued = pool.extract({ ...request, target: undefined, whiteouts: 'ignore' }, stop.signal)
    setTimeout(() => stop.abort(new Error('enough')), 100)
    const startMs = performance.now()
    await Promise.all([first, queued].map((each) => assert.rejects(each, { message: 'enough' })))
    assert.ok(performance.now() - startMs < 2000)
  }
  await pool.close()
})

test('of layers that wait, the largest that has bytes is next', async () => {
  using work = temporaryDirectory()
  const pool = new LayerPool({ threads: 1 })
  const order: string[] = []
  const extract = async (name: string, sizeBytes: number, available?: AvailableBytes) => {
    const path = join(work.path, name)
    writeFileSync(path, tarOf([{ name, data: Buffer.alloc(sizeBytes) }]))
    const source = { path, sizeBytes: readFileSync(path).length }
    const more = available ? { available } : {}
    await pool.extract({ source, ...more, target: undefined, whiteouts: 'ignore' }, within())
    order.push(name)
    return source.sizeBytes
  }
  const none = new AvailableBytes()
  const running = extract('first', 1000)
  const others = [extract('small', 2000), extract('huge', 500_000, none), extract('large', 90_000)]
  await Promise.all([running, others[0], others[2]])
  none.advance(readFileSync(join(work.path, 'huge')).length)
  await Promise.all(others)
  assert.deepEqual(order, ['first', 'large', 'small', 'huge'])
  await pool.close()
})

test('a file shorter than stated is refused; one that is longer is read to the stated size', async () => {
  await using extractor = startExtractor()
  const path = join(extractor.path, 'file')
  writeFileSync(path, tar)
  const request = { target: undefined, whiteouts: 'ignore' } as const
  await assert.rejects(extractor.pool.extract({ ...request, source: { path, sizeBytes: tar.length + 1 } }, within()), {
    code: 'data_loss',
  })
  const { digest } = await extractor.pool.extract({ ...request, source: { path, sizeBytes: 1024 } }, within())
  assert.equal(digest, sha256(tar.subarray(0, 1024)))
})

test('a layer named by sha512 is hashed so, its diff ID is sha256', async () => {
  await using extractor = startExtractor()
  for (const bytes of [layer, tar]) {
    const path = join(extractor.path, 'file')
    writeFileSync(path, bytes)
    const source = { path, sizeBytes: bytes.length, algorithm: 'sha512' } as const
    const result = await extractor.pool.extract({ source, target: undefined, whiteouts: 'ignore' }, within())
    assert.deepEqual([result.digest, result.diffId], [sha512(bytes), sha256(tar)])
  }
})

test('a closed pool cancels what runs and takes nothing more', async () => {
  using work = temporaryDirectory()
  const pool = new LayerPool({ threads: 1 })
  const file = growingFile(join(work.path, 'layer'), layer)
  file.append(300_000)
  const request = { ...file, target: undefined, whiteouts: 'ignore' } as const
  const rejected = assert.rejects(pool.extract(request, within()), { code: 'cancelled' })
  await delay(50)
  await pool.close()
  await rejected
  await assert.rejects(pool.extract(request, within()), { code: 'cancelled' })
})
