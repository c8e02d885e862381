import assert from 'node:assert/strict'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { digestOf } from '../../../src/model/digest.ts'
import type { ImageReference } from '../../../src/oci/reference.ts'
import { RegistryClient, type RegistryClientOptions } from '../../../src/registry/client.ts'
import { HostPauses } from '../../../src/registry/pauses.ts'
import { RetryBudget } from '../../../src/registry/retry.ts'

const signal = AbortSignal.timeout(20_000)

async function serve(answer: RequestListener, options: Partial<RegistryClientOptions> = {}) {
  const server = createServer(answer).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  const retry = { baseDelayMs: 1, delayMaxMs: 2, ...options.retry }
  const client = new RegistryClient({ credentials: async () => undefined, userAgent: 'test', ...options, retry })
  const ref: ImageReference = { registry: `127.0.0.1:${port}`, repository: 'x', tag: 'latest' }
  return {
    client,
    ref,
    async [Symbol.asyncDispose]() {
      await client.close()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const descriptor = (text: string) => ({ mediaType: 'a/b', digest: digestOf(text), sizeBytes: text.length })

test('an image has so many further tries, whatever they are for', async () => {
  let asked = 0
  await using at = await serve(
    (_request, response) => {
      asked += 1
      response.writeHead(500).end()
    },
    { retry: { budget: 6, attemptsMax: 5 } },
  )
  const repository = at.client.open(at.ref)
  for (let blob = 0; blob < 10; blob++) {
    const wanted = repository.fetchDocument(descriptor(`blob ${blob}`), 1000, signal)
    await assert.rejects(wanted, { code: 'unavailable', message: /status 500/ })
  }
  assert.equal(asked, 10 + 6)
  assert.deepEqual(
    repository.attempts.map(({ status, requests }) => [status, requests]),
    [[500, 16]],
  )
})

test('a blob that failed is asked for again only while there are tries left', async () => {
  let asked = 0
  await using at = await serve(
    (_request, response) => {
      asked += 1
      response.writeHead(503).end()
    },
    { retry: { budget: 3 } },
  )
  const repository = at.client.open(at.ref)
  for (let attempt = 0; attempt < 10; attempt++)
    await assert.rejects(repository.openBlob(descriptor('x'), { offset: 0 }, signal), { code: 'unavailable' })
  assert.equal(asked, 1 + 3)
})

test('a try is given back for bytes that have come, up to what there was', () => {
  const budget = new RetryBudget(2)
  budget.giveBack()
  assert.deepEqual([budget.take(), budget.take(), budget.take()], [true, true, false])
  budget.giveBack()
  assert.deepEqual([budget.take(), budget.take()], [true, false])
})

test('a host that asks for a pause gets it from all who want something of it, and of no other', async () => {
  const pauses = new HostPauses()
  pauses.pause('a', 200)
  pauses.pause('a', 10)
  const begunAt = performance.now()
  await pauses.wait('b', 1000, signal)
  assert.ok(performance.now() - begunAt < 100)
  await Promise.all([pauses.wait('a', 1000, signal), pauses.wait('a', 1000, signal)])
  assert.ok(performance.now() - begunAt >= 195)
  pauses.pause('a', 60_000)
  await assert.rejects(pauses.wait('a', 1000, signal), { code: 'unavailable', message: /left alone for 60 s/ })
  const stop = AbortSignal.timeout(20)
  await assert.rejects(pauses.wait('a', 100_000, stop), { name: 'AbortError' })
})

test('a retry of one image waits for the pause that another one was told of', async () => {
  const askedAt: number[] = []
  await using at = await serve((_request, response) => {
    askedAt.push(performance.now())
    if (askedAt.length === 1) response.writeHead(429, { 'retry-after': '1' }).end()
    else response.writeHead(404).end()
  })
  const one = at.client.open(at.ref)
  const first = one.fetchDocument(descriptor('one'), 1000, signal)
  while (one.attempts.length === 0) await setImmediate()
  const second = at.client.open({ ...at.ref, repository: 'y' }).fetchDocument(descriptor('two'), 1000, signal)
  await assert.rejects(first, { code: 'not_found' })
  await assert.rejects(second, { code: 'not_found' })
  for (const ms of askedAt.slice(1)) assert.ok(ms - (askedAt[0] ?? 0) > 990)
})
