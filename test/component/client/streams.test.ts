import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { PurserClient } from '../../../src/client/index.ts'
import { parseLogLine } from '../../../src/client/log-lines.ts'
import { serverSentEvents } from '../../../src/client/server-sent-events.ts'

/** An HTTP server on a socket, that answers as a daemon would not. */
async function serve(answer: (response: ServerResponse, lastEventId: string | undefined) => void) {
  const dir = await mkdtemp(join(tmpdir(), 'ps-'))
  const server = createServer((request, response) => answer(response, request.headers['last-event-id']?.toString()))
  server.listen(`${dir}/s`)
  await once(server, 'listening')
  return {
    client: new PurserClient({ socketPath: `${dir}/s`, reconnectMs: 200 }),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
      await rm(dir, { recursive: true })
    },
  }
}

async function* bytes(...lines: string[]): AsyncGenerator<Buffer> {
  for (const line of lines) yield Buffer.from(line)
}

test('server-sent events: ids stay, comments are nothing, data may have lines', async () => {
  const events = await Array.fromAsync(
    serverSentEvents(
      bytes('id: 7', '', ': beat', '', 'event: a', 'data: 1', 'data:2', '', 'data', '', 'data: cut off'),
    ),
  )
  assert.deepEqual(events, [
    { id: '7', event: 'message', data: undefined },
    { id: '7', event: 'a', data: '1\n2' },
    { id: '7', event: 'message', data: '' },
  ])
})

test('a log line keeps its bytes, whatever they are', () => {
  const text = Buffer.from([0xff, 0x20, 0x0d, 0x00, 0x20])
  const line = Buffer.concat([Buffer.from('2026-01-01T00:00:00.1Z stderr P '), text])
  assert.deepEqual(parseLogLine(line), { time: '2026-01-01T00:00:00.1Z', stream: 'stderr', isPartial: true, text })
  assert.deepEqual(parseLogLine(Buffer.from('T stdout F ')), {
    time: 'T',
    stream: 'stdout',
    isPartial: false,
    text: Buffer.alloc(0),
  })
})

test('an event that was cut in two comes once, whole, from the connection after', async () => {
  const asked: (string | undefined)[] = []
  await using at = await serve((response, lastEventId) => {
    asked.push(lastEventId)
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const from = Number(lastEventId ?? 0)
    response.write(`id: ${from}\n\nid: ${from + 1}\ndata: {"position":${from + 1}}\n\nid: ${from + 2}\nda`)
    setImmediate(() => response.destroy())
  })
  const positions: number[] = []
  for await (const { position } of at.client.events({ follow: true })) {
    positions.push(position)
    if (positions.length === 4) break
  }
  assert.deepEqual(positions, [1, 2, 3, 4])
  assert.deepEqual(asked, [undefined, '1', '2', '3'])
})

test('what is no problem document is told by its status', async () => {
  await using at = await serve((response) => response.writeHead(502).end('<html>'))
  await assert.rejects(at.client.get('/v1/info'), { code: 'unknown', message: 'the daemon answered HTTP 502' })
})

test('an answer that breaks off is a lost connection, not half an answer', async () => {
  await using at = await serve((response) => {
    response.writeHead(200, { 'content-length': '100' })
    response.write('{"a":')
    setImmediate(() => response.destroy())
  })
  await assert.rejects(at.client.get('/v1/info'), { code: 'unavailable', message: /was lost/ })
})
