import assert from 'node:assert/strict'
import { test } from 'node:test'
import { JournaldSink } from '../../../src/shim/forward/journald.ts'
import { SyslogSink, type SyslogTarget } from '../../../src/shim/forward/syslog.ts'
import type { LogEntry } from '../../../src/shim/log-format.ts'
import { eventually } from '../../support/faults.ts'
import { JOURNALD, RSYSLOGD, startJournald, startRsyslog } from '../../support/receivers.ts'
import { temporaryDirectory } from '../../support/trees.ts'

const SOURCE = { namespace: 'default', container: 'c1', tag: 'web', hostname: 'host' }
const entry = (text: string, stream: 'stdout' | 'stderr' = 'stdout'): LogEntry => ({
  time: '2026-01-02T03:04:05.678000000Z',
  stream,
  partial: !text.endsWith('\n'),
  data: Buffer.from(text),
  end: { id: '', offset: 0 },
})
/** Where a receiver would cut it, it goes on like a message of another container. */
const FORGED = `${'ö'.repeat(5000)}${'<13>1 - host other c2 stdout - forged '.repeat(200)}`
const ENTRIES = [
  entry('hello\n'),
  entry('wörld\n', 'stderr'),
  entry(`${FORGED}\n`),
  entry('  <13>no head\n'),
  entry('no end'),
]

test('rsyslog takes what the syslog driver sends, long lines in pieces and as nobody else’s', {
  skip: !RSYSLOGD,
}, async (t) => {
  using dir = temporaryDirectory()
  await using receiver = await startRsyslog(dir.path)
  const targets: SyslogTarget[] = [
    { by: 'unixgram', path: receiver.path },
    { by: 'tcp', host: '127.0.0.1', port: receiver.port },
  ]
  let before = 0
  for (const target of targets) {
    using sink = new SyslogSink({ target, facility: 3 }, SOURCE)
    await sink.send(ENTRIES, t.signal)
    const lines = (
      await eventually(
        async () => receiver.lines(),
        (all) => all.at(-1)?.endsWith('no end') === true && all.length > before,
      )
    ).slice(before)
    before += lines.length
    const [heads, texts] = [
      lines.map((line) => line.split(' ', 5).join(' ')),
      lines.map((line) => line.split(' ').slice(5).join(' ')),
    ]
    assert.deepEqual(
      heads,
      heads.map((_, index) => `host web c1 ${index === 1 ? 'stderr err' : 'stdout info'}`),
    )
    assert.deepEqual(
      [texts[0], texts[1], texts.slice(2, -2).join(''), texts.at(-2), texts.at(-1)],
      ['hello', 'wörld', FORGED, '  <13>no head', 'no end'],
    )
  }
})

test('journald takes what its driver sends, any bytes, and long lines in pieces', { skip: !JOURNALD }, async (t) => {
  using dir = temporaryDirectory()
  await using receiver = await startJournald(dir.path)
  using sink = new JournaldSink(receiver.path, SOURCE)
  const long = 'x'.repeat(100_000)
  await sink.send([...ENTRIES, entry('\n'), entry('two\nlines\0\n'), entry(`${long}\n`), entry('last\n')], t.signal)
  const entries = await eventually(
    async () => receiver.entries(),
    (all) => all.at(-1)?.MESSAGE === 'last',
  )
  const told = entries.map(({ MESSAGE, PRIORITY, CONTAINER_TAG, CONTAINER_PARTIAL_MESSAGE: partial }) => ({
    text: Array.isArray(MESSAGE) ? Buffer.from(MESSAGE).toString() : MESSAGE,
    PRIORITY,
    CONTAINER_TAG,
    ...(partial === undefined ? {} : { partial }),
  }))
  const line = (text: string) => ({ text, PRIORITY: '6', CONTAINER_TAG: 'web' })
  assert.deepEqual(told.slice(0, 2), [line('hello'), { ...line('wörld'), PRIORITY: '3' }])
  assert.deepEqual(told.slice(2, 7), [
    line(FORGED),
    line('  <13>no head'),
    { ...line('no end'), partial: 'true' },
    line(''),
    line('two\nlines\0'),
  ])
  assert.deepEqual(
    told.slice(7).map(({ partial }) => partial),
    ['true', 'true', undefined, undefined],
  )
  assert.equal(
    told
      .slice(7, -1)
      .map(({ text }) => text)
      .join(''),
    long,
  )
})
