import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempDisposable, readFile, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { type BlobBody, type FetchBlobRequest, fetchBlob } from '../../../src/content/fetch.ts'
import { ContentStore } from '../../../src/content/store.ts'
import { digestOf } from '../../../src/model/digest.ts'
import { PurserError } from '../../../src/model/errors.ts'

const bytes = randomBytes(3_000_000)
const digest = digestOf(bytes)
const sizeBytes = bytes.length
const cut = () => new PurserError('unavailable', 'the connection was cut', { remedy: 'try again' })

/** Sends what is given in small pieces, then ends, or breaks off with an error. */
async function* sending(whole: Uint8Array, failure?: Error): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < whole.length; at += 10_007) yield whole.subarray(at, at + 10_007)
  if (failure) throw failure
}

type Open = (offset: number) => BlobBody | Promise<BlobBody>

async function fixture(open: Open, more: Partial<FetchBlobRequest> = {}) {
  const dir = await mkdtempDisposable(join(tmpdir(), 'purser-fetch-'))
  const store = await ContentStore.open(dir.path)
  const offsets: number[] = []
  const request: FetchBlobRequest = {
    store,
    digest,
    sizeBytes,
    hash: 'here',
    signal: AbortSignal.timeout(20_000),
    retry: { baseDelayMs: 1 },
    open: async ({ offset }) => {
      offsets.push(offset)
      return await open(offset)
    },
    ...more,
  }
  return { store, request, offsets, [Symbol.asyncDispose]: () => dir.remove() }
}

test('a blob arrives whole, and its file can be followed as it grows', async () => {
  const progress: number[] = []
  const sizes: Promise<boolean>[] = []
  await using at = await fixture((offset) => ({ body: sending(bytes.subarray(offset)), offset }), {
    onProgress: (total, path) => {
      progress.push(total)
      sizes.push(stat(path).then((file) => file.size >= total))
    },
  })
  await using ingest = await fetchBlob(at.request)
  assert.equal(ingest.offsetBytes, sizeBytes)
  assert.ok((await Promise.all(sizes)).every(Boolean))
  assert.deepEqual(
    progress,
    progress.toSorted((a, b) => a - b),
  )
  assert.deepEqual([progress[0], progress.at(-1)], [0, sizeBytes])
  assert.ok(progress.length < 10, 'writes are large')
  await ingest.commit()
  assert.deepEqual(await readFile(at.store.path(digest)), bytes)
})

test('a transfer that is cut goes on at the byte where it ended', async () => {
  const ends = [700_000, 1_234_567, 2_999_999]
  await using at = await fixture((offset) => {
    const end = ends.shift()
    return { body: sending(bytes.subarray(offset, end), end === undefined ? undefined : cut()), offset }
  })
  await using ingest = await fetchBlob(at.request)
  assert.deepEqual(at.offsets, [0, 700_000, 1_234_567, 2_999_999])
  await ingest.commit()
})

test('a source that cannot begin in the middle is read from its start, and nothing is written twice', async () => {
  const ends = [700_000, 500_000]
  await using at = await fixture(() => {
    const end = ends.shift()
    return { body: sending(bytes.subarray(0, end), end === undefined ? undefined : cut()), offset: 0 }
  })
  await using ingest = await fetchBlob(at.request)
  assert.deepEqual(at.offsets, [0, 700_000, 700_000])
  await ingest.commit()
})

test('an ingest of an earlier process is resumed', async () => {
  await using at = await fixture((offset) => ({ body: sending(bytes.subarray(offset)), offset }))
  const earlier = await at.store.ingest(`layer-${digest}`, { digest, sizeBytes })
  await earlier.write(bytes.subarray(0, 42))
  await earlier.close()
  await using ingest = await fetchBlob(at.request)
  assert.deepEqual(at.offsets, [42])
  await ingest.commit()
})

test('a blob that is complete but not committed is not asked for again', async () => {
  await using at = await fixture((offset) => ({ body: sending(bytes.subarray(offset)), offset }))
  await (await fetchBlob(at.request)).close()
  await using ingest = await fetchBlob({ ...at.request, hash: 'elsewhere' })
  assert.deepEqual(at.offsets, [0])
  await ingest.commit({ verifiedDigest: digest })
})

test('a source that sends too much is refused, and what it sent is dropped', async () => {
  const endless = async function* () {
    for (;;) yield bytes
  }
  await using at = await fixture((offset) => ({ body: endless(), offset }))
  await assert.rejects(fetchBlob(at.request), { code: 'data_loss', message: /more than its 3000000 bytes/ })
  assert.deepEqual(await Array.fromAsync(at.store.ingests()), [])
})

test('a source that always ends early is given up after a few attempts, and what came is kept', async () => {
  await using at = await fixture((offset) => ({ body: sending(bytes.subarray(offset, 1000)), offset }))
  await assert.rejects(fetchBlob(at.request), {
    code: 'unavailable',
    message: /after 5 attempts, with 1000 of 3000000/,
  })
  assert.deepEqual(at.offsets, [0, 1000, 1000, 1000, 1000])
  assert.equal((await Array.fromAsync(at.store.ingests()))[0]?.offsetBytes, 1000)
})

test('a source that drips a byte per attempt is given up as well', async () => {
  await using at = await fixture((offset) => ({ body: sending(bytes.subarray(offset, offset + 1)), offset }))
  await assert.rejects(fetchBlob(at.request), { code: 'unavailable' })
  assert.equal(at.offsets.length, 5)
})

test('a source that begins past what was asked for is not believed', async () => {
  await using at = await fixture((offset) => ({ body: sending(bytes.subarray(offset + 1)), offset: offset + 1 }))
  await assert.rejects(fetchBlob(at.request), { code: 'unavailable', message: /began at byte 1 instead of 0/ })
})

test('an error that will not pass is passed on at once, and the reference is free again', async () => {
  await using at = await fixture(() => {
    throw new PurserError('permission_denied', 'no', { remedy: 'ask' })
  })
  await assert.rejects(fetchBlob(at.request), { code: 'permission_denied' })
  assert.equal(at.offsets.length, 1)
  await at.store.removeIngest(`layer-${digest}`)
})

test('an abort ends the transfer and keeps what was written', async () => {
  const stop = new AbortController()
  const stalling = async function* () {
    yield bytes.subarray(0, 600_000)
    stop.abort(new PurserError('cancelled', 'enough', { remedy: 'none' }))
    throw cut()
  }
  await using at = await fixture((offset) => ({ body: stalling(), offset }), { signal: stop.signal })
  await assert.rejects(fetchBlob(at.request), { code: 'cancelled' })
  assert.equal((await Array.fromAsync(at.store.ingests()))[0]?.offsetBytes, 600_000)
})

test('wrong bytes of the right length fail at commit, and the next fetch starts from nothing', async () => {
  const wrong = Buffer.from(bytes).fill(0, 5, 6)
  await using at = await fixture((offset) => ({ body: sending(wrong.subarray(offset)), offset }))
  await using ingest = await fetchBlob(at.request)
  await assert.rejects(ingest.commit(), { code: 'data_loss' })
  await using again = await fetchBlob({ ...at.request, open: async ({ offset }) => ({ body: sending(bytes), offset }) })
  await again.commit()
})
