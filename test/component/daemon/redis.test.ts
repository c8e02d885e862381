import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import pino from 'pino'
import { type EmbeddedRedis, startRedis } from '../../../src/daemon/redis.ts'

const logger = pino({ level: 'silent' })

/** A directory for one server, and the end of whatever server still uses it. */
async function makePlace() {
  const dir = await mkdtemp(join(tmpdir(), 'purser-own-redis-'))
  const place = { dataDir: `${dir}/data`, socketPath: `${dir}/run/redis.sock`, logger }
  return {
    ...place,
    start: (more: { signal?: AbortSignal; binary?: string; socketPath?: string } = {}): Promise<EmbeddedRedis> =>
      startRedis({ ...place, signal: AbortSignal.timeout(20_000), ...more }),
    async [Symbol.asyncDispose]() {
      const pid = Number(await readFile(`${place.dataDir}/redis.pid`, 'utf8').catch(() => '0'))
      if (pid > 0) await kill9(pid)
      await rm(dir, { recursive: true, force: true, maxRetries: 3 })
    },
  }
}

async function kill9(pid: number): Promise<void> {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    return // gone already
  }
  const gone = async () => /^State:\s+[ZX]/m.test(await readFile(`/proc/${pid}/status`, 'utf8').catch(() => 'State: X'))
  while (!(await gone())) await delay(2)
}

function client(url: string) {
  const redis = new Redis(url, { retryStrategy: () => 20 })
  redis.on('error', () => {}) // it reconnects
  return { redis, [Symbol.dispose]: () => redis.disconnect() }
}

test('a killed Redis comes back with everything that it acknowledged', async () => {
  await using place = await makePlace()
  const own = await place.start()
  using open = client(own.url)
  for (let round = 0; round < 3; round++) {
    await open.redis.set(`key${round}`, 'value')
    const before = own.pid
    await kill9(before)
    assert.equal(await open.redis.dbsize(), round + 1)
    while (own.pid === before) await delay(5)
  }
  await own.stop()
})

test('its socket and data are private, every write is fsynced, nothing is evicted', async () => {
  await using place = await makePlace()
  const own = await place.start()
  using open = client(own.url)
  assert.equal((await stat(place.socketPath)).mode & 0o777, 0o600)
  assert.equal((await stat(place.dataDir)).mode & 0o777, 0o700)
  const settings = await open.redis.config('GET', 'appendfsync', 'appendonly', 'maxmemory-policy', 'port', 'save')
  assert.deepEqual(pairs(settings), {
    appendfsync: 'always',
    appendonly: 'yes',
    'maxmemory-policy': 'noeviction',
    port: '0',
    save: '',
  })
  await own.stop()
})

test('a Redis that outlived its daemon is adopted, watched and stopped', async () => {
  await using place = await makePlace()
  const script = `
    import { startRedis } from ${JSON.stringify(new URL('../../../src/daemon/redis.ts', import.meta.url).href)}
    import pino from 'pino'
    const { signal } = new AbortController()
    const place = ${JSON.stringify({ dataDir: place.dataDir, socketPath: place.socketPath })}
    const own = await startRedis({ ...place, logger: pino({ level: 'silent' }), signal })
    console.log(own.pid)
    setInterval(() => {}, 1000)`
  const owner = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = (await once(owner.stdout, 'data')) as [Buffer]
  const first = Number(line.toString())
  owner.kill('SIGKILL')
  await once(owner, 'exit')

  const own = await place.start()
  assert.deepEqual([own.adopted, own.pid], [true, first])
  using open = client(own.url)
  await open.redis.set('key', 'value')
  await kill9(first)
  assert.equal(await open.redis.get('key'), 'value')
  while (own.pid === first) await delay(5)
  await own.stop()
  await assert.rejects(stat(place.socketPath), { code: 'ENOENT' })
})

test('an aborted signal leaves it running; started again, it is the same one', async () => {
  await using place = await makePlace()
  const watch = new AbortController()
  const first = await place.start({ signal: watch.signal })
  watch.abort()
  const second = await place.start()
  assert.deepEqual([second.adopted, second.pid], [true, first.pid])
  await second.stop()
  const third = await place.start()
  assert.equal(third.adopted, false)
  await third.stop()
})

test('of two started at once for one directory, one runs and both use it', async () => {
  await using place = await makePlace()
  const [a, b] = await Promise.all([place.start(), place.start()])
  assert.equal(a.pid, b.pid)
  await Promise.all([a.stop(), b.stop()])
})

test('a data directory behind a symbolic link is the same directory', async () => {
  await using place = await makePlace()
  const first = await place.start()
  const link = `${place.dataDir}.link`
  await symlink(place.dataDir, link)
  const second = await startRedis({ ...place, dataDir: link, signal: AbortSignal.timeout(20_000) })
  assert.equal(second.pid, first.pid)
  await Promise.all([first.stop(), second.stop()])
})

test('servers with two directories do not meet', async () => {
  await using one = await makePlace()
  await using two = await makePlace()
  const [a, b] = await Promise.all([one.start(), two.start()])
  using open = client(a.url)
  using other = client(b.url)
  await open.redis.set('key', 'value')
  assert.equal(await other.redis.get('key'), null)
  await assert.rejects(two.start({ socketPath: one.socketPath }), {
    code: 'failed_precondition',
    message: /not .*data$/,
  })
  await Promise.all([a.stop(), b.stop()])
})

test('a write that a power cut left half is dropped, those before it are kept', async () => {
  await using place = await makePlace()
  const own = await place.start()
  using open = client(own.url)
  await open.redis.set('first', 'value')
  await open.redis.set('second', 'value')
  await own.stop()
  const aof = `${place.dataDir}/appendonlydir/appendonly.aof.1.incr.aof`
  await truncate(aof, (await stat(aof)).size - 3)
  const again = await place.start()
  assert.deepEqual(await open.redis.keys('*'), ['first'])
  await again.stop()
})

test('what is wrong is said: absent program, too long a path, a data file that is none', async () => {
  await using place = await makePlace()
  await assert.rejects(place.start({ binary: 'no-such-redis' }), {
    code: 'failed_precondition',
    message: /no-such-redis/,
    remedy: /apt-get install redis-server/,
  })
  await assert.rejects(place.start({ socketPath: `/tmp/${'x'.repeat(110)}` }), { code: 'invalid_argument' })
  await assert.rejects(place.start({ binary: '/bin/false' }), { code: 'failed_precondition', message: /\/bin\/false/ })
  const own = await place.start()
  await own.stop()
  await writeFile(`${place.dataDir}/appendonlydir/appendonly.aof.manifest`, 'this is no manifest\n')
  await assert.rejects(place.start(), { code: 'unavailable', message: /exit code 1.*manifest/i })
})

const pairs = (flat: unknown): Record<string, string> => {
  const list = flat as string[]
  return Object.fromEntries(list.flatMap((name, at) => (at % 2 === 0 ? [[name, list[at + 1] ?? '']] : [])))
}
