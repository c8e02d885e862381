import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pino } from 'pino'
import { serveMetrics } from '../../../src/api/http/metrics-listener.ts'

/** @returns where it listens */
async function listening(read: (format: string) => Promise<string>, address = '127.0.0.1:0') {
  let at = ''
  const write = (line: string): void => {
    at = JSON.parse(line).address ?? at
  }
  const logger = pino({ level: 'info' }, { write })
  const server = await serveMetrics(address, read, logger)
  return { at, server }
}

test('metrics are served over TCP, in the format that is asked for, and nothing else is', async () => {
  const asked: string[] = []
  const { at, server } = await listening(async (format) => {
    asked.push(format)
    return 'purser_x 1\n'
  })
  await using _ = server
  const get = (path: string, init: RequestInit = {}) =>
    fetch(`http://${at}${path}`, { headers: { accept: 'text/plain' }, ...init })
  const plain = await get('/metrics?x=1')
  assert.deepEqual([plain.status, await plain.text()], [200, 'purser_x 1\n'])
  assert.match(plain.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/)
  const open = await get('/metrics', { headers: { accept: 'application/openmetrics-text; version=1.0.0' } })
  assert.match(open.headers.get('content-type') ?? '', /^application\/openmetrics-text/)
  assert.equal((await get('/v1/info')).status, 404)
  assert.equal((await get('/metrics', { method: 'POST' })).status, 405)
  await assert.rejects(
    listening(async () => '', at),
    {
      code: 'unavailable',
      field: 'metrics.listen',
      message: `metrics.listen = "${at}": it cannot be listened on (EADDRINUSE)`,
    },
  )
})

test('scrapes that come while one is being answered share its work; one that fails is not the last', async () => {
  let reads = 0
  let gate = Promise.withResolvers<string>()
  const { at, server } = await listening(() => {
    reads += 1
    return gate.promise
  })
  await using _ = server
  const scrape = async () => {
    const answer = await fetch(`http://${at}/metrics`)
    return [answer.status, await answer.text()]
  }
  const first = scrape()
  while (reads === 0) await new Promise(setImmediate)
  const others = [scrape(), scrape()]
  // Their requests have arrived once a later one on a connection of its own is answered.
  assert.equal((await fetch(`http://${at}/`)).status, 404)
  gate.reject(new Error('disk full'))
  for (const [status] of await Promise.all([first, ...others])) assert.equal(status, 500)
  gate = Promise.withResolvers()
  gate.resolve('again 1\n')
  assert.deepEqual(await scrape(), [200, 'again 1\n'])
  assert.ok(reads <= 3, `${reads} reads`)
})
