import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, constants, mkdtempSync, openSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { readLog } from '../../../src/shim/log-reader.ts'
import { ProcessStdio } from '../../../src/shim/stdio.ts'
import { instant, rounds } from '../../support/faults.ts'

const PROGRAM = fileURLToPath(new URL('../../support/log-process.ts', import.meta.url))
const LINES = 200_000

test('whenever the process that writes a log is killed, no byte of it is lost or doubled', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'purser-killed-'))
  t.after(() => rm(dir, { recursive: true }))
  const logPath = join(dir, 'log')
  const stdio = await ProcessStdio.create(join(dir, 'io'), { stdin: 'none', output: 'pipes' })
  // As a shim holds them, over the deaths of who reads.
  const held = [stdio.io.stdout, stdio.io.stderr].map((path) =>
    openSync(path, constants.O_RDONLY | constants.O_NONBLOCK),
  )
  stdio.close()
  const writers = [stdio.io.stdout, stdio.io.stderr].map((path) => {
    const fd = openSync(path, 'w')
    const writer = spawn('seq', [String(LINES)], { stdio: ['ignore', fd, 'inherit'] })
    closeSync(fd)
    return once(writer, 'close')
  })
  const options = JSON.stringify({ dir: join(dir, 'io'), logPath, limits: { maxBytes: 1024 * 1024, filesMax: 1000 } })
  const read = () => spawn(process.execPath, [PROGRAM, options], { stdio: ['ignore', 'pipe', 'inherit'] })
  for (const round of rounds(4)) {
    const reader = read()
    await Promise.race([once(reader.stdout, 'data'), once(reader, 'close')])
    await delay(instant(t, `round ${round}: killed`, 15))
    reader.kill('SIGKILL')
    if (reader.exitCode === null && reader.signalCode === null) await once(reader, 'close')
  }
  const last = read()
  const [exitCode] = await once(last, 'close')
  assert.equal(exitCode, 0)
  assert.deepEqual(
    (await Promise.all(writers)).map(([code]) => code),
    [0, 0],
  )
  for (const fd of held) closeSync(fd)

  const text = { stdout: [] as Buffer[], stderr: [] as Buffer[] }
  for await (const { stream, data } of readLog(logPath, { signal: t.signal })) text[stream].push(data)
  const expected = Array.from({ length: LINES }, (_, index) => `${index + 1}\n`).join('')
  for (const stream of ['stdout', 'stderr'] as const)
    assert.ok(Buffer.concat(text[stream]).equals(Buffer.from(expected)), `${stream} is not what was written`)
})
