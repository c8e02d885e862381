import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempDisposable, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises'
import { Bandwidth } from '../../../src/content/bandwidth.ts'
import { Connections } from '../../../src/content/connections.ts'
import type { FetchBlobRequest } from '../../../src/content/fetch.ts'
import { ContentStore } from '../../../src/content/store.ts'
import { digestOf } from '../../../src/model/digest.ts'
import { PurserError } from '../../../src/model/errors.ts'
import { StallWatch } from '../../../src/workers/pull/stall-watch.ts'
import { Transfers, type WantBlobRequest } from '../../../src/workers/pull/transfers.ts'

const bytes = randomBytes(2_000_000)
const digest = digestOf(bytes)
const sizeBytes = bytes.length
const signal = AbortSignal.timeout(60_000)
const refused = () => new PurserError('permission_denied', 'this one may not')

async function fixture({ connections = 4 } = {}) {
  const dir = await mkdtempDisposable(join(tmpdir(), 'purser-transfers-'))
  const content = await ContentStore.open(dir.path)
  const network = { connections: new Connections(connections), bandwidth: new Bandwidth(Number.POSITIVE_INFINITY) }
  const transfers = new Transfers({ content, ...network, chunks: { sizeBytes: 1 << 24, atOnce: 4 } })
  const asked: number[] = []
  const open: FetchBlobRequest['open'] = async ({ offset }, within) => {
    asked.push(offset)
    return { body: gate.through(bytes.subarray(offset), within), offset }
  }
  const gate = new Gate()
  const request: WantBlobRequest = {
    digest,
    sizeBytes,
    priority: 100,
    source: { name: 'a', open },
    onProgress() {},
  }
  return { content, transfers, ...network, gate, asked, request, [Symbol.asyncDispose]: () => dir.remove() }
}

/** Lets bytes through up to a point that a test sets. */
class Gate {
  #upTo = Number.POSITIVE_INFINITY
  #passed = 0
  #moved = Promise.withResolvers<void>()

  open(upTo = Number.POSITIVE_INFINITY): void {
    this.#upTo = upTo
    this.#moved.resolve()
    this.#moved = Promise.withResolvers()
  }

  async *through(whole: Uint8Array, within: AbortSignal): AsyncGenerator<Uint8Array> {
    const aborted = new Promise<never>((_, reject) => {
      within.addEventListener('abort', () => reject(within.reason), { once: true })
    })
    aborted.catch(() => {})
    for (let at = 0; at < whole.length; at += 50_000) {
      within.throwIfAborted()
      while (this.#passed >= this.#upTo) await Promise.race([this.#moved.promise, aborted])
      this.#passed += 50_000
      yield whole.subarray(at, at + 50_000)
    }
  }
}

test('however many want a blob, it is fetched once, and each sees it come', async () => {
  await using at = await fixture()
  const seen = new Array<number>(50).fill(0)
  const callers = Array.from({ length: 50 }, (_, index) =>
    at.transfers.want({ ...at.request, onProgress: (received) => seen.splice(index, 1, received) }, signal),
  )
  await Promise.all(callers.map((caller) => caller.stored()))
  assert.deepEqual(at.asked, [0])
  assert.deepEqual(seen, new Array(50).fill(sizeBytes))
  assert.deepEqual(
    callers.map(({ fetchedBytes }) => fetchedBytes),
    [sizeBytes, ...new Array(49).fill(0)],
  )
  assert.deepEqual(await readFile(at.content.path(digest)), bytes)
  await Promise.all(callers.map((caller) => caller[Symbol.asyncDispose]()))
  assert.ok(!at.transfers.has(digest))
  await using late = at.transfers.want(at.request, signal)
  await late.stored()
  assert.deepEqual(at.asked, [0])
})

test('who first wanted it may leave: it goes on for the others, and ends when nobody waits any more', async () => {
  await using at = await fixture()
  at.gate.open(1_000_000)
  const stop = new AbortController()
  const first = at.transfers.want(at.request, stop.signal)
  const second = at.transfers.want(at.request, signal)
  while (second.arrivedBytes < 1_000_000) await turn()
  stop.abort(new PurserError('cancelled', 'no more'))
  await assert.rejects(first.stored(), { code: 'cancelled' })
  await first[Symbol.asyncDispose]()
  assert.equal(at.connections.inUse, 1)
  await second[Symbol.asyncDispose]()
  assert.equal(at.connections.inUse, 0)
  const [kept] = await Array.fromAsync(at.content.ingests())
  assert.ok((kept?.offsetBytes ?? 0) >= 1_000_000)

  at.gate.open()
  await using third = at.transfers.want(at.request, signal)
  await third.stored()
  assert.deepEqual(at.asked, [0, kept?.offsetBytes])
})

test('one who reads the file while it grows says its digest; wrong bytes fail everybody', async () => {
  await using at = await fixture()
  const first = at.transfers.want(at.request, signal)
  const second = at.transfers.want(at.request, signal)
  const followed = await first.follow()
  assert.ok(followed)
  assert.equal(await second.follow(), undefined)
  while (followed.available.total < sizeBytes) await turn()
  assert.equal(await at.content.stat(digest), undefined)
  followed.verified(digestOf('something else'))
  await assert.rejects(first.stored(), { code: 'data_loss' })
  await assert.rejects(second.stored(), { code: 'data_loss' })
  assert.deepEqual(await Array.fromAsync(at.content.ingests()), [])
  for (const each of [first, second]) await each[Symbol.asyncDispose]()

  await using again = at.transfers.want(at.request, signal)
  using reader = await again.follow()
  reader?.verified(digest)
  await again.stored()
})

test('where one source fails, those go on who have another', async () => {
  await using at = await fixture()
  const denied = { name: 'b', open: () => Promise.reject(refused()) }
  await using first = at.transfers.want({ ...at.request, source: denied }, signal)
  await using other = at.transfers.want({ ...at.request, source: denied }, signal)
  await using second = at.transfers.want(at.request, signal)
  await assert.rejects(first.stored(), { code: 'permission_denied' })
  await assert.rejects(other.stored(), { code: 'permission_denied' })
  await second.stored()
  assert.deepEqual(at.asked, [0])
})

test('an urgent caller makes a transfer that is under way urgent', async () => {
  await using at = await fixture({ connections: 1 })
  const holder = await at.connections.acquire(() => 100, signal)
  await using prefetch = at.transfers.want({ ...at.request, priority: 1000 }, signal)
  while (at.connections.waiting === 0) await turn()
  assert.equal(holder.wanted.aborted, false)
  await using urgent = at.transfers.want({ ...at.request, priority: 1 }, signal)
  assert.equal(holder.wanted.aborted, true)
  holder[Symbol.dispose]()
  await Promise.all([prefetch.stored(), urgent.stored()])
})

test('an image whose bytes drip is asked for anew, and fails at last; waiting for others is no standstill', async () => {
  await using at = await fixture({ connections: 1 })
  const dripping: FetchBlobRequest['open'] = async ({ offset }, within) => ({
    body: (async function* () {
      for (let byte = offset; ; byte++) {
        await delay(5, undefined, { signal: within }).catch(() => {
          throw within.reason
        })
        yield bytes.subarray(byte, byte + 1)
      }
    })(),
    offset,
  })
  const holder = await at.connections.acquire(() => 1, signal)
  using watch = new StallWatch({ bytesMin: 10_000, timeoutMs: 50 })
  await using blob = at.transfers.want({ ...at.request, source: { name: 'd', open: dripping } }, signal)
  using _ = watch.add(blob)
  await delay(200) // Longer than the limit: nothing is asked for yet.
  holder[Symbol.dispose]()
  await assert.rejects(blob.stored(), { code: 'unavailable', message: /given up after 5 attempts.*stand still/ })
})
