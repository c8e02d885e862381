import assert from 'node:assert/strict'
import { appendFileSync, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs'
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
  assert.equal(await textOf(path, { fromOffset: first.value?.endOffset ?? 0 }), '2\n3\n')
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
