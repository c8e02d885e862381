import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempDisposable, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { Bandwidth } from '../../../src/content/bandwidth.ts'
import { Connections } from '../../../src/content/connections.ts'
import { BlobFetch, type FetchBlobRequest, fetchBlob } from '../../../src/content/fetch.ts'
import { ContentStore } from '../../../src/content/store.ts'
import { digestOf } from '../../../src/model/digest.ts'
import { PurserError } from '../../../src/model/errors.ts'

const MIB = 1 << 20
const bytes = randomBytes(9 * MIB + 17)
const digest = digestOf(bytes)
const sizeBytes = bytes.length
const chunks = { sizeBytes: MIB, atOnce: 4 }

async function* sending(whole: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < whole.length; at += 65_536) {
    await turn()
    yield whole.subarray(at, at + 65_536)
  }
}

type Asked = { offset: number; endBytes?: number }
const parts = ({ offset, endBytes = sizeBytes }: Asked) => ({
  body: sending(bytes.subarray(offset, endBytes)),
  offset,
  partial: true,
})
const until = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))
const cut = () => new PurserError('unavailable', 'the connection was cut')

async function fixture(open: FetchBlobRequest['open'], more: Partial<FetchBlobRequest> = {}) {
  const dir = await mkdtempDisposable(join(tmpdir(), 'purser-chunks-'))
  const store = await ContentStore.open(dir.path)
  const asked: Asked[] = []
  const request: FetchBlobRequest = {
    store,
    digest,
    sizeBytes,
    hash: 'elsewhere',
    signal: AbortSignal.timeout(20_000),
    retry: { baseDelayMs: 1 },
    chunks,
    open: (range, signal) => {
      asked.push(range)
      return open(range, signal)
    },
    ...more,
  }
  return { dir: dir.path, store, request, asked, [Symbol.asyncDispose]: () => dir.remove() }
}

test('a large blob is fetched in chunks, so many at once, and can be followed from its beginning', async () => {
  let open = 0
  let openMost = 0
  const counted = async function* (body: AsyncIterable<Uint8Array>) {
    openMost = Math.max(openMost, ++open)
    yield* body
    open -= 1
  }
  const readable: number[] = []
  await using at = await fixture(async (range) => ({ ...parts(range), body: counted(parts(range).body) }), {
    onProgress: (total) => void readable.push(total),
  })
  await using ingest = await fetchBlob(at.request)
  assert.equal(openMost, 4)
  assert.deepEqual(
    at.asked.map(({ offset }) => offset).sort((a, b) => a - b),
    Array.from({ length: 10 }, (_, index) => index * MIB),
  )
  assert.deepEqual(
    readable,
    readable.toSorted((a, b) => a - b),
  )
  assert.equal(readable.at(-1), sizeBytes)
  await ingest.commit()
  assert.deepEqual(await readFile(at.store.path(digest)), bytes)
})

test('a blob of less than two chunks, or one at once, is fetched in one piece', async () => {
  await using at = await fixture(async (range) => parts(range), { chunks: { sizeBytes: 5 * MIB, atOnce: 4 } })
  await (await fetchBlob(at.request)).commit()
  assert.deepEqual(at.asked, [{ offset: 0 }])
})

test('a source that sends all whatever it is asked for is asked once', async () => {
  await using at = await fixture(async () => ({ body: sending(bytes), offset: 0, partial: false }))
  await (await fetchBlob(at.request)).commit()
  assert.deepEqual(at.asked, [{ offset: 0, endBytes: MIB }])
})

test('a chunk that is cut off goes on where it ended, the others are not touched', async () => {
  let cuts = 0
  const cutting = async function* (from: number, to: number) {
    yield bytes.subarray(from, from + 600_000)
    if (cuts++ < 2) throw cut()
    yield* sending(bytes.subarray(from + 600_000, to))
  }
  await using at = await fixture(async ({ offset, endBytes = sizeBytes }) => ({
    body: endBytes - offset === MIB ? cutting(offset, endBytes) : sending(bytes.subarray(offset, endBytes)),
    offset,
    partial: true,
  }))
  await (await fetchBlob(at.request)).commit()
  assert.equal(at.asked.length, 12)
  assert.equal(at.asked.filter(({ offset }) => offset % MIB === 600_000).length, 2)
})

test('after a crash only what was in memory is fetched again', async () => {
  let sent = 0
  const stop = new AbortController()
  const dying = async function* (body: AsyncIterable<Uint8Array>) {
    for await (const chunk of body) {
      sent += chunk.length
      // The process is gone: nothing is closed, nothing is written.
      if (sent > 6 * MIB) await until(stop.signal)
      yield chunk
    }
  }
  const dead = await fixture(async (range) => ({ ...parts(range), body: dying(parts(range).body) }), {
    signal: stop.signal,
  })
  await using _ = dead
  const fetch = new BlobFetch(dead.request)
  const died = fetch.run().catch(() => {})
  for (let before = -1; sent <= 6 * MIB || before !== fetch.receivedBytes; await turn()) before = fetch.receivedBytes
  const received = fetch.receivedBytes
  assert.ok(received > 3 * MIB && received < 7 * MIB)

  const store = await ContentStore.open(dead.dir)
  const again: Asked[] = []
  const resumed = new BlobFetch({
    ...dead.request,
    store,
    signal: AbortSignal.timeout(20_000),
    open: async (range) => {
      again.push(range)
      return parts(range)
    },
  })
  await (await resumed.run()).commit()
  assert.deepEqual(await readFile(store.path(digest)), bytes)
  assert.ok(resumed.isPatchwork)
  // What may be unrecorded, and what four connections had in memory.
  assert.ok(resumed.arrivedBytes <= sizeBytes - received + 2 * MIB + 4 * 600_000, `${resumed.arrivedBytes} bytes`)
  stop.abort(new Error('the end'))
  await died
})

test('parts of a file that was replaced meanwhile are not put together', async () => {
  let answers = 0
  await using at = await fixture(async (range) => ({ ...parts(range), host: 'a', etag: `"${Math.min(++answers, 2)}"` }))
  await assert.rejects(fetchBlob(at.request), { code: 'data_loss', message: /a has replaced/ })
  assert.deepEqual(await Array.fromAsync(at.store.ingests()), [])
})

test('a connection that is wanted for something more urgent is given up, and no byte is asked for twice', async () => {
  const connections = new Connections(1)
  const bandwidth = new Bandwidth(Number.POSITIVE_INFINITY)
  const network = { connections, bandwidth, priority: () => 1000 }
  let urgent: Promise<Disposable> | undefined
  const slow = async function* (from: number) {
    for (let at = from; at < sizeBytes; at += 65_536) {
      if (at > 5 * MIB) urgent ??= connections.acquire(() => 1, AbortSignal.timeout(20_000))
      await turn()
      yield bytes.subarray(at, at + 65_536)
    }
  }
  await using at = await fixture(
    async ({ offset }, signal) => ({
      body: (async function* () {
        for await (const chunk of slow(offset)) {
          signal.throwIfAborted()
          yield chunk
        }
      })(),
      offset,
    }),
    { network, chunks: { sizeBytes: MIB, atOnce: 1 } },
  )
  const fetching = fetchBlob(at.request)
  while (!urgent) await turn()
  const first = await urgent
  while (connections.waiting === 0) await turn()
  first[Symbol.dispose]()
  await (await fetching).commit()
  const offsets = at.asked.map(({ offset }) => offset)
  assert.equal(offsets.length, 2)
  assert.ok((offsets[1] ?? 0) > 5 * MIB, `${offsets}`)
})
