import assert from 'node:assert/strict'
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { pino } from 'pino'
import { mount, umount } from '../../../src/host/syscalls.ts'
import { LogFile } from '../../../src/shim/log-file.ts'
import { encodeLog } from '../../../src/shim/log-format.ts'
import { type ReadLogOptions, readLog } from '../../../src/shim/log-reader.ts'

const logger = pino({ enabled: false })

function directory(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'purser-log-'))
  t.after(() => rm(dir, { recursive: true }))
  return dir
}

async function textOf(path: string, options: Omit<ReadLogOptions, 'signal'>): Promise<string> {
  let text = ''
  for await (const { data } of readLog(path, { ...options, signal: AbortSignal.timeout(10_000) })) text += data
  return text
}

test('an unfinished line is in the file before it is finished', async (t) => {
  const log = await LogFile.open(join(directory(t), 'log'), logger)
  log.append('stdout', Buffer.from('Password: '))
  assert.match(readFileSync(log.path, 'utf8'), / stdout P Password: \n$/)
  await log.close()
})

test('a follower gets what is appended, and ends with the log', async (t) => {
  const log = await LogFile.open(join(directory(t), 'log'), logger)
  log.append('stdout', Buffer.from('one\n'))
  const following = textOf(log.path, { follow: log })
  for (let n = 0; n < 50; n += 1) {
    if (!log.append('stdout', Buffer.alloc(100_000, `${n % 10}`))) await log.drained()
  }
  log.append('stdout', Buffer.from('\nend'))
  await log.close()
  const text = await following
  assert.equal(text.length, 'one\n'.length + 5_000_000 + '\nend'.length)
  assert.ok(text.endsWith('9\nend'))
})

test('a reader goes on where it was', async (t) => {
  const path = join(directory(t), 'log')
  writeFileSync(path, encodeLog('stdout', Buffer.from('1\n2\n3\n'), 0))
  const signal = AbortSignal.timeout(10_000)
  const reader = readLog(path, { signal })
  const first = await reader.next()
  await reader.return()
  assert.equal(first.done, false)
  assert.equal(await textOf(path, { ...(first.value ? { from: first.value.end } : {}) }), '2\n3\n')
})

test('the last lines are found, however long the file and the lines', async (t) => {
  const path = join(directory(t), 'log')
  const all: string[] = []
  for (let n = 0; n < 3000; n += 1) {
    const line = `${n} ${'x'.repeat((n * 37) % 200)}`
    all.push(line)
    // Now and then a line comes in two pieces.
    const pieces = n % 7 === 0 ? [line.slice(0, 3), `${line.slice(3)}\n`] : [`${line}\n`]
    for (const piece of pieces) appendFileSync(path, encodeLog('stdout', Buffer.from(piece), 0))
  }
  for (const count of [0, 1, 7, 8, 1000, 2999, 3000, 5000]) {
    const expected = count === 0 ? [] : all.slice(-count)
    assert.equal(await textOf(path, { tailLines: count }), expected.map((line) => `${line}\n`).join(''), `${count}`)
  }
  appendFileSync(path, encodeLog('stdout', Buffer.from('unfinished'), 0))
  assert.equal(await textOf(path, { tailLines: 2 }), `${all.at(-1)}\nunfinished`)
})

test('entries before a time are left out', async (t) => {
  const path = join(directory(t), 'log')
  for (const ms of [1000, 2000, 3000]) appendFileSync(path, encodeLog('stdout', Buffer.from(`${ms}\n`), ms))
  assert.equal(await textOf(path, { sinceMs: 2000 }), '2000\n3000\n')
})

test('an entry that was cut short costs itself alone', async (t) => {
  const path = join(directory(t), 'log')
  writeFileSync(path, Buffer.concat([encodeLog('stdout', Buffer.from('one\n'), 0), Buffer.from('2026-01-01T00:00')]))
  const log = await LogFile.open(path, logger)
  log.append('stdout', Buffer.from('two\n'))
  await log.close()
  assert.equal(await textOf(path, {}), 'one\ntwo\n')
  assert.equal(log.sizeBytes, statSync(path).size)
})

test('a full disk holds output up, and loses none', async (t) => {
  const dir = directory(t)
  mount('tmpfs', dir, 'tmpfs', 0, 'size=256k')
  try {
    const log = await LogFile.open(join(dir, 'log'), logger)
    writeFileSync(join(dir, 'ballast'), Buffer.alloc(200_000))
    const line = Buffer.from(`${'x'.repeat(999)}\n`)
    for (let n = 0; n < 100; n += 1) log.append('stdout', line)
    assert.ok(log.sizeBytes < 100_000)
    await rm(join(dir, 'ballast'))
    await log.drained()
    await log.close()
    assert.equal((await textOf(log.path, {})).length, 100_000)
  } finally {
    umount(dir)
  }
})

const LIMITS = { maxBytes: 4096, filesMax: 3 }

test('a log of several files is read as one, by followers and from the end, while files go', async (t) => {
  const path = join(directory(t), 'log')
  const log = await LogFile.open(path, logger, LIMITS)
  const line = (n: number) => `${String(n).padStart(5, '0')} ${'x'.repeat(90)}\n`
  const following = textOf(path, { follow: log, unread: 'stays' })
  for (let n = 0; n < 600; n += 1) if (!log.append('stdout', Buffer.from(line(n)))) await log.drained()
  await log.drained()
  await log.close()
  // Who follows misses nothing, though most files have gone by now.
  assert.equal(await following, Array.from({ length: 600 }, (_, n) => line(n)).join(''))
  assert.deepEqual(readdirSync(join(path, '..')).sort(), ['log', 'log.1', 'log.2'])
  for (const file of ['log', 'log.1', 'log.2']) assert.ok(statSync(join(path, '..', file)).size <= LIMITS.maxBytes)
  const kept = await textOf(path, {})
  assert.ok(kept.endsWith(line(599)) && kept.length < 3 * LIMITS.maxBytes)
  assert.equal(await textOf(path, { tailLines: 50 }), Array.from({ length: 50 }, (_, n) => line(550 + n)).join(''))
  // One that does not hold on to them is told that files have gone.
  const lost: string[] = []
  const from = { id: 'gone', offset: 0 }
  assert.equal((await textOf(path, { from, onLost: () => lost.push('files') })).length, kept.length)
  assert.deepEqual(lost, ['files'])
  const again = await LogFile.open(path, logger, LIMITS)
  for (let n = 600; n < 700; n += 1) again.append('stdout', Buffer.from(line(n)))
  await again.close()
  assert.ok((await textOf(path, {})).endsWith(line(699)))
})

test('what a client that does not read holds on to is bounded: then the writer waits, until it leaves', async (t) => {
  const path = join(directory(t), 'log')
  const log = await LogFile.open(path, logger, LIMITS)
  const hold = log.hold(log.position.id)
  let isFull = false
  for (let n = 0; n < 2000 && !isFull; n += 1) {
    isFull = !log.append('stdout', Buffer.from(`${'x'.repeat(99)}\n`))
    await new Promise((resolve) => setImmediate(resolve))
  }
  assert.ok(isFull)
  assert.ok(readdirSync(join(path, '..')).length <= 2 * LIMITS.filesMax + 1)
  hold[Symbol.dispose]()
  await log.drained()
  await log.close()
})

test('entries from a time on are left out', async (t) => {
  const path = join(directory(t), 'log')
  for (const ms of [1000, 2000, 3000]) appendFileSync(path, encodeLog('stdout', Buffer.from(`${ms}\n`), ms))
  assert.equal(await textOf(path, { untilMs: 2000 }), '1000\n')
  assert.equal(await textOf(path, { sinceMs: 1500, untilMs: 3000 }), '2000\n')
})

/** What a reader of whole lines shows: entries, and which lines of the log they are of. */
interface Written {
  text: string
  timeMs: number
  line: number
}

/** A log of pieces of lines, which is rotated in the middle of them; what is left of it. */
async function fragments(path: string, t: TestContext): Promise<Written[]> {
  t.mock.timers.enable({ apis: ['Date'], now: 1_000_000 })
  const log = await LogFile.open(path, logger, { maxBytes: 700, filesMax: 6 })
  const written: Written[] = []
  let line = 0
  for (let n = 0; n < 120; n += 1) {
    const isEnd = n % 3 !== 1 && n % 7 !== 0
    const text = `${n}:${'x'.repeat((n * 53) % 90)}${isEnd ? '\n' : ' '}`
    log.append('stdout', Buffer.from(text))
    written.push({ text, timeMs: Date.now(), line })
    if (isEnd) line += 1
    await log.drained()
    t.mock.timers.setTime(Date.now() + 1000)
  }
  await log.close()
  let bytes = 0
  for await (const { data } of readLog(path, { signal: t.signal })) bytes += data.length
  while (written.reduce((sum, { text }) => sum + text.length, 0) > bytes) written.shift()
  return written
}

test('tails and times are exact where lines in pieces meet the borders of files', async (t) => {
  const path = join(directory(t), 'log')
  const written = await fragments(path, t)
  const shown = (entries: readonly Written[]) => entries.map(({ text }) => text).join('')
  assert.equal(await textOf(path, {}), shown(written))
  assert.ok(readdirSync(join(path, '..')).length === 6 && written.length > 30)
  const last = written.at(-1)?.line ?? 0
  for (let tailLines = 0; tailLines < 40; tailLines += 1) {
    const expected = shown(written.filter(({ line }) => line > last - tailLines))
    assert.equal(await textOf(path, { tailLines }), expected, `the last ${tailLines}`)
  }
  for (const { timeMs } of written) {
    assert.equal(await textOf(path, { sinceMs: timeMs }), shown(written.filter((each) => each.timeMs >= timeMs)))
    assert.equal(await textOf(path, { untilMs: timeMs }), shown(written.filter((each) => each.timeMs < timeMs)))
  }
})
