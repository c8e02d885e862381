import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { Redis } from 'ioredis'
import { Archive } from '../../../src/archive/archive.ts'
import { archivePaths } from '../../../src/archive/directory.ts'
import { nodeSigner } from '../../../src/archive/node-key.ts'
import { parseVerifier } from '../../../src/archive/note.ts'
import { verifyArchive } from '../../../src/archive/verify.ts'
import { aggregates } from '../../../src/commands/index.ts'
import { EventLog } from '../../../src/log/event-log.ts'
import { logKeys } from '../../../src/log/keys.ts'
import { instant, rounds } from '../../support/faults.ts'
import { startTestRedis } from '../../support/redis.ts'

const SEALING = join(import.meta.dirname, '../../support/sealing-process.ts')
/** Times PURSER_ROUNDS: with 100 of them, a million. */
const EVENTS = 10_000
/** A process is killed so often at least; what is left then is sealed in peace. */
const KILLS = 8

test('a process that seals, killed at any instant, loses no event, doubles none and tears no segment', async (t) => {
  await using server = await startTestRedis()
  const dir = await mkdtemp(join(tmpdir(), 'sealing-'))
  try {
    const events = EVENTS * rounds(1).length
    const options = { redis: server.url, prefix: server.keyPrefix, dir, events }
    let acknowledged = 0
    let sealed = 0
    for (const round of [...rounds(KILLS), undefined]) {
      const child = spawn(process.execPath, [SEALING, JSON.stringify(options)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const ended = once(child, 'exit')
      for await (const line of createInterface(child.stdout)) {
        if (line === 'ready' && round !== undefined)
          setTimeout(() => child.kill('SIGKILL'), instant(t, `round ${round}: killed`, 300))
        else if (line !== 'ready') acknowledged = Number(line)
      }
      const [code, signal] = await ended
      assert.deepEqual([code, signal], signal === 'SIGKILL' && round !== undefined ? [null, 'SIGKILL'] : [0, null])
      const verified = await verifyArchive({
        dir,
        verifier: parseVerifier(await readFile(archivePaths(dir).key, 'utf8')),
        from: Math.max(1, sealed - 1000),
      })
      assert.equal(verified.fault, undefined, `after round ${round}`)
      const size = verified.checkpoint?.size ?? 0
      assert.ok(size >= sealed, `what was sealed stays so: ${sealed}, then ${size}`)
      sealed = size
    }

    await using archive = await Archive.open(dir, await nodeSigner(join(dir, 'key.pem'), 'test'))
    const redis = new Redis(server.url)
    try {
      const keys = logKeys('test', server.keyPrefix)
      const log = await EventLog.open({ redis, keys, node: 'test', aggregates, sealed: archive })
      assert.ok(acknowledged > 0 && log.head >= acknowledged && archive.last >= events)
      let position = 0
      for await (const event of log.read(0)) {
        position += 1
        assert.deepEqual([event.position, event.subject], [position, `request/n${position}`])
      }
      assert.equal(position, log.head)
      assert.ok((await redis.xlen(keys.events)) <= 200, 'what is sealed was trimmed')
    } finally {
      redis.disconnect()
    }
    const files = await readdir(archive.paths.segments)
    assert.equal(files.length, archive.segments.length, 'nothing half written is left')
    t.diagnostic(`${archive.last} events in ${files.length} segments`)
    const whole = await verifyArchive({ dir, verifier: parseVerifier(await readFile(archive.paths.key, 'utf8')) })
    assert.deepEqual([whole.fault, whole.events], [undefined, archive.last])
  } finally {
    await rm(dir, { recursive: true })
  }
})
