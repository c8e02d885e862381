import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { pino } from 'pino'
import { FluentdSink } from '../../../src/shim/forward/fluentd.ts'
import { Forwarder } from '../../../src/shim/forward/forwarder.ts'
import { JournaldSink } from '../../../src/shim/forward/journald.ts'
import type { LogSink } from '../../../src/shim/forward/sink.ts'
import { SyslogSink } from '../../../src/shim/forward/syslog.ts'
import { LogFile } from '../../../src/shim/log-file.ts'
import type { LogEntry } from '../../../src/shim/log-format.ts'
import { receiveDatagrams } from '../../support/datagrams.ts'

const SOURCE = { namespace: 'default', container: 'c1', tag: 'web', hostname: 'host' }
const TIME = '2026-01-02T03:04:05.678000000Z'
const signal = AbortSignal.timeout(20_000)
const entry = (text: string, stream: 'stdout' | 'stderr' = 'stdout'): LogEntry => ({
  time: TIME,
  stream,
  partial: !text.endsWith('\n'),
  data: Buffer.from(text),
  end: { id: '', offset: 0 },
})
const ENTRIES = [entry('hello\n'), entry('wörld\n', 'stderr'), entry('no end')]

function directory(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'fw-'))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

/** What a stream server is sent, up to so many bytes. */
async function receiving(server: Server, listen: (done: () => void) => void) {
  await new Promise<void>((done) => listen(done))
  const chunks: Buffer[] = []
  server.on('connection', (socket) => socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', () => {}))
  return async (bytes: number): Promise<Buffer> => {
    while (Buffer.concat(chunks).length < bytes) await new Promise((resolve) => setImmediate(resolve))
    return Buffer.concat(chunks)
  }
}

const LINES = [
  '<30>1 2026-01-02T03:04:05.678000Z host web c1 stdout - hello',
  '<27>1 2026-01-02T03:04:05.678000Z host web c1 stderr - wörld',
  '<30>1 2026-01-02T03:04:05.678000Z host web c1 stdout - no end',
]
const COUNTED = LINES.map((line) => `${Buffer.byteLength(line)} ${line}`).join('')

test('syslog: RFC 5424, a datagram a line over udp and Unix sockets, counted over tcp and Unix streams', async (t) => {
  const dir = directory(t)
  const udp = createSocket('udp4')
  t.after(() => udp.close())
  await new Promise<void>((done) => udp.bind(0, '127.0.0.1', done))
  const datagrams: string[] = []
  udp.on('message', (message) => datagrams.push(message.toString()))
  using overUdp = new SyslogSink(
    { target: { by: 'udp', host: '127.0.0.1', port: udp.address().port }, facility: 3 },
    SOURCE,
  )
  await overUdp.send(ENTRIES, signal)
  while (datagrams.length < 3) await once(udp, 'message')
  assert.deepEqual(datagrams, LINES)

  using unix = receiveDatagrams(join(dir, 'log'))
  using overUnix = new SyslogSink({ target: { by: 'unixgram', path: unix.path }, facility: 3 }, SOURCE)
  await overUnix.send(ENTRIES, signal)
  assert.deepEqual(unix.take().map(String), LINES)

  const [tcp, stream] = [createServer(), createServer()]
  t.after(() => {
    tcp.close()
    stream.close()
  })
  const [received, streamed] = [
    await receiving(tcp, (done) => tcp.listen(0, '127.0.0.1', done)),
    await receiving(stream, (done) => stream.listen(join(dir, 'stream'), done)),
  ]
  const address = tcp.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  using overTcp = new SyslogSink({ target: { by: 'tcp', host: '127.0.0.1', port }, facility: 3 }, SOURCE)
  await overTcp.send(ENTRIES, signal)
  assert.equal(String(await received(Buffer.byteLength(COUNTED))), COUNTED)
  using overStream = new SyslogSink({ target: { by: 'unix', path: join(dir, 'stream') }, facility: 3 }, SOURCE)
  await overStream.send(ENTRIES, signal)
  assert.equal(String(await streamed(Buffer.byteLength(COUNTED))), COUNTED)
})

test('journald: the native protocol, with texts of any bytes', async (t) => {
  using journal = receiveDatagrams(join(directory(t), 'socket'))
  using sink = new JournaldSink(journal.path, SOURCE)
  await sink.send([entry('two\nlines\0\n'), entry('part', 'stderr')], signal)
  const [first = Buffer.alloc(0), second = Buffer.alloc(0)] = journal.take()
  const at = first.indexOf('MESSAGE\n') + 'MESSAGE\n'.length
  assert.equal(first.readBigUInt64LE(at), 10n)
  assert.equal(first.toString('utf8', at + 8), 'two\nlines\0\n')
  const fields = first.toString('latin1', 0, at)
  for (const field of ['PRIORITY=6', 'SYSLOG_IDENTIFIER=web', 'CONTAINER_NAME=c1', 'PURSER_NAMESPACE=default'])
    assert.ok(fields.includes(`${field}\n`), field)
  assert.match(second.toString('latin1'), /^PRIORITY=3\n(?:.*\n)*CONTAINER_PARTIAL_MESSAGE=true\n/)
})

test('fluentd: the forward protocol, in MessagePack; what is not acknowledged counts as not sent', async (t) => {
  const text = (value: string) => Buffer.concat([Buffer.of(0xa0 + value.length), Buffer.from(value)])
  const time = Buffer.from([0xd7, 0, 0, 0, 0, 0, 0, 0, 0, 0])
  time.writeUInt32BE(Math.floor(Date.parse(TIME) / 1000), 2)
  time.writeUInt32BE(678_000_000, 6)
  const record = ['container_id', 'c1', 'container_name', 'c1', 'namespace', 'default', 'source', 'stdout', 'log', 'hi']
  const expected = Buffer.concat([
    Buffer.of(0x93),
    text('web'),
    Buffer.of(0x91, 0x92),
    time,
    Buffer.of(0x85),
    ...record.map(text),
  ])
  const answers = [() => Buffer.alloc(42), undefined, (chunk: string) => [Buffer.of(0x81), text('ack'), text(chunk)]]
  const asked: Buffer[] = []
  const acknowledging = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', (question: Buffer) => {
      asked.push(question)
      const [, chunk = ''] = /\x81\xa5chunk\xb8(.{24})$/s.exec(question.toString('latin1')) ?? []
      const answer = answers.shift()
      if (answer) socket.write(Buffer.concat([answer(chunk)].flat()))
      else socket.destroy()
    })
  })
  t.after(() => acknowledging.close())
  const path = join(directory(t), 'fluent')
  await new Promise<void>((done) => acknowledging.listen(path, done))
  using sink = new FluentdSink({ path }, SOURCE)
  await assert.rejects(sink.send([entry('hi\n')], signal), /acknowledged something else/)
  await assert.rejects(sink.send([entry('hi\n')], signal), /closed before anything was acknowledged/)
  await sink.send([entry('hi\n')], signal)
  assert.equal(asked.length, 3)
  for (const question of asked) assert.deepEqual(question.subarray(0, expected.length), expected)
})

test('a log is sent on from where it was, over outages of the receiver; what rotation took meanwhile is told', async (t) => {
  const dir = directory(t)
  const logger = pino({ enabled: false })
  const sent: string[] = []
  let isThere = false
  const sink: LogSink = {
    send: async (entries) => {
      if (!isThere) throw new Error('nobody is there')
      sent.push(...entries.map(({ data }) => data.toString().trim()))
    },
    [Symbol.dispose]: () => {},
  }
  const lost: string[] = []
  const open = async () => {
    const log = await LogFile.open(join(dir, 'log'), logger, { maxBytes: 4096, filesMax: 2 })
    const onLost = () => lost.push('file')
    return { log, forwarder: new Forwarder({ log, sink, cursorPath: join(dir, 'log.cursor'), onLost, logger }) }
  }
  const first = await open()
  first.log.append('stdout', Buffer.from('one\n'))
  isThere = true
  while (sent.length === 0) await new Promise((resolve) => setImmediate(resolve))
  first.forwarder.stop()
  await first.forwarder.ended
  first.log.append('stdout', Buffer.from('two\n'))
  await first.log.close()
  const second = await open()
  while (sent.length < 2) await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(sent, ['one', 'two'])
  isThere = false
  for (let n = 0; n < 200; n += 1) {
    second.log.append('stdout', Buffer.from(`${n} ${'x'.repeat(80)}\n`))
    await new Promise((resolve) => setImmediate(resolve))
  }
  isThere = true
  await second.log.close()
  await second.forwarder.ended
  assert.match(sent.at(-1) ?? '', /^199 /)
  assert.deepEqual([...new Set(lost)], ['file'])
})
