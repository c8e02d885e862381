import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'

export interface TestRedis extends AsyncDisposable {
  /** What `new Redis(url)` takes: the path of a Unix socket, or REDIS_URL. */
  readonly url: string
  /** Begins every key that the test writes; never empty, so that tests cannot meet on a shared server. */
  readonly keyPrefix: string
  /** Undefined when the server is the one that REDIS_URL names. */
  readonly socketPath: string | undefined
  readonly pid: number | undefined
}

export interface TestRedisOptions {
  /** Fsync every write to an append-only file, as the daemon's own Redis does. Default: nothing is written to disk. */
  readonly fsync?: 'always' | 'never'
}

/** A Redis for one test: the server that REDIS_URL names, or a redis-server of its own that dies with this process. */
export async function startTestRedis(options: TestRedisOptions = {}): Promise<TestRedis> {
  const keyPrefix = `t${randomBytes(5).toString('hex')}:`
  const shared = process.env.REDIS_URL
  if (shared) {
    return {
      url: shared,
      keyPrefix,
      socketPath: undefined,
      pid: undefined,
      [Symbol.asyncDispose]: () => deleteKeys(shared, keyPrefix),
    }
  }

  const dir = await mkdtemp(join(tmpdir(), 'purser-redis-'))
  const socketPath = `${dir}/redis.sock`
  const config = [
    ...['--port', '0', '--unixsocket', socketPath, '--unixsocketperm', '600', '--dir', dir, '--save', ''],
    ...['--logfile', `${dir}/redis.log`, '--maxmemory-policy', 'noeviction', '--databases', '1'],
    ...(options.fsync === 'always' ? ['--appendonly', 'yes', '--appendfsync', 'always'] : ['--appendonly', 'no']),
  ]
  // A runner that is killed takes its servers with it.
  const server = spawn('setpriv', ['--pdeathsig', 'KILL', 'redis-server', ...config], { stdio: 'ignore' })
  const exited = once(server, 'exit')
  exited.catch(() => {}) // seen below, by the exit code
  const stop = async () => {
    if (server.exitCode === null && server.signalCode === null && server.pid !== undefined) {
      server.kill('SIGKILL')
      await exited
    }
    await rm(dir, { recursive: true, force: true })
  }
  try {
    const deadline = Date.now() + 10_000
    while (!(await answers(socketPath))) {
      if (server.pid === undefined || server.exitCode !== null || Date.now() > deadline) {
        const log = await readFile(`${dir}/redis.log`, 'utf8').catch(() => '(no log)')
        throw new Error(`redis-server did not start on ${socketPath} (Debian package: redis-server): ${log}`)
      }
      await delay(5)
    }
  } catch (error) {
    await stop()
    throw error
  }
  return { url: socketPath, keyPrefix, socketPath, pid: server.pid, [Symbol.asyncDispose]: stop }
}

async function answers(socketPath: string): Promise<boolean> {
  const socket = connect(socketPath)
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

async function deleteKeys(url: string, prefix: string): Promise<void> {
  const redis = new Redis(url, { maxRetriesPerRequest: 1 })
  try {
    // The prefix may stand inside a hash tag, so not only at the beginning.
    for await (const keys of redis.scanStream({ match: `*${prefix}*`, count: 1000 })) {
      if (keys.length > 0) await redis.unlink(keys)
    }
  } finally {
    redis.disconnect()
  }
}
