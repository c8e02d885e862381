import assert from 'node:assert/strict'
import { closeSync, mkdirSync, mkdtempSync, openSync, writeSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { pino } from 'pino'
import { LogFile } from '../../../src/shim/log-file.ts'
import { DirectOutput, LoggedOutput, type OutputHub } from '../../../src/shim/output-hub.ts'
import { ProcessStdio } from '../../../src/shim/stdio.ts'

const signal = AbortSignal.timeout(20_000)

async function read(hub: OutputHub, replay: 'all' | 'none'): Promise<string> {
  let text = ''
  for await (const { data } of hub.subscribe({ replay, signal })) text += data
  return text
}

function directory(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'purser-hub-'))
  t.after(() => rm(dir, { recursive: true }))
  return dir
}

test('subscribers of a log get each byte once, whenever they come', async (t) => {
  const dir = directory(t)
  const stdio = await ProcessStdio.create(join(dir, 'io'), { stdin: 'none', output: 'terminal' })
  const hub = new LoggedOutput(stdio.spool(), await LogFile.open(join(dir, 'log'), pino({ enabled: false })))
  const writer = openSync(stdio.io.stdout, 'w')
  const readers: Promise<string>[] = []
  let expected = ''
  for (let n = 0; n < 200; n += 1) {
    if (n % 20 === 0) readers.push(read(hub, 'all'))
    const text = `${n}${n % 3 === 0 ? '\n' : ' '}`
    expected += text
    writeSync(writer, text)
    if (n % 5 === 0) await new Promise(setImmediate)
  }
  closeSync(writer)
  await hub.ended
  readers.push(read(hub, 'all'))
  for (const text of await Promise.all(readers)) assert.equal(text, expected)
  assert.equal(await read(hub, 'none'), '')
})

test('without a log, what came before the first subscriber is kept', async () => {
  const stdout = new PassThrough()
  const stderr = new PassThrough()
  const hub = new DirectOutput({ stdout, stderr })
  stdout.end('early ')
  stderr.end('errors')
  await hub.ended
  assert.deepEqual((await read(hub, 'all')).split(' ').sort(), ['early', 'errors'])
  assert.equal(await read(hub, 'all'), '')
})

test('without a log, a process waits when nobody reads, and goes on when somebody does', async () => {
  const stdout = new PassThrough()
  const hub = new DirectOutput({ stdout })
  const chunk = Buffer.alloc(64 * 1024, 'x')
  let written = 0
  while (written < 4 << 20 && stdout.writableNeedDrain === false) {
    stdout.write(chunk)
    written += chunk.length
    await new Promise(setImmediate)
  }
  assert.ok(written < 2 << 20, `${written} bytes were taken`)
  const reading = read(hub, 'all')
  stdout.end()
  assert.equal((await reading).length, written)
})

test('without a log, a subscriber who leaves holds nobody up', async () => {
  const stdout = new PassThrough()
  const hub = new DirectOutput({ stdout })
  const leaving = hub.subscribe({ replay: 'all', signal })
  stdout.write('first')
  await leaving.next()
  await leaving.return()
  const chunk = Buffer.alloc(64 * 1024, 'x')
  for (let n = 0; n < 64; n += 1) {
    if (!stdout.write(chunk)) await new Promise((resolve) => stdout.once('drain', resolve))
  }
  stdout.end()
  await hub.ended
})

test('output ends also when the files of its log are gone, as those of a container that was removed', async (t) => {
  const dir = directory(t)
  mkdirSync(join(dir, 'container'))
  const stdio = await ProcessStdio.create(join(dir, 'io'), { stdin: 'none', output: 'terminal' })
  const log = await LogFile.open(join(dir, 'container', 'log'), pino({ enabled: false }), {
    maxBytes: 4096,
    filesMax: 2,
  })
  const hub = new LoggedOutput(stdio.spool(), log)
  const writer = openSync(stdio.io.stdout, 'w')
  await rm(join(dir, 'container'), { recursive: true })
  writeSync(writer, 'x'.repeat(9999))
  closeSync(writer)
  await hub.ended
  assert.ok(log.ended)
})
