import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, open, readFile, realpath } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import type { Logger } from 'pino'
import { errorCodeOf, PurserError } from '../model/errors.ts'

const SOCKET_PATH_BYTES_MAX = 107 // unix(7), sun_path
const LOCK_HELD = 75
const LOCK_HELD_MS_MAX = 10_000
const START_MS_MAX = 60_000 // a big append-only file takes a while to load
const STOP_MS_MAX = 30_000

export interface RedisOptions {
  /** Name or path of the server; without it, redis-server and then valkey-server are looked for on PATH. */
  readonly binary?: string | undefined
  /** Holds the append-only file; made with mode 0700. One server at a time uses it, whoever started it. */
  readonly dataDir: string
  readonly socketPath: string
  readonly logger: Logger
  /** Aborted, the server is no longer watched and goes on running, for the next daemon to adopt. */
  readonly signal: AbortSignal
}

export interface EmbeddedRedis {
  /** What `new Redis(url)` takes. */
  readonly url: string
  readonly socketPath: string
  /** Of the server that answers now; another one after a restart. */
  readonly pid: number
  /** True when the server was running already. */
  readonly adopted: boolean
  /** Shuts the server down in order and waits for its end. */
  stop(): Promise<void>
}

/** A server that answers, seen through a connection that ends when it does. */
interface Session {
  readonly pid: number
  readonly connection: Redis
  readonly ended: Promise<void>
  readonly adopted: boolean
}

/**
 * The daemon's own Redis, on a private Unix socket: adopted when one of an earlier daemon still runs, and started again
 * with its append-only file whenever it dies.
 *
 * The server has its own session and outlives a daemon that is killed. It inherits a lock on the data directory, so that
 * two servers can never write one append-only file.
 *
 * @throws PurserError failed_precondition when there is no server program, or the socket belongs to other data
 * @throws PurserError unavailable when the server ends at once; the message has its last log lines
 */
export async function startRedis(given: RedisOptions): Promise<EmbeddedRedis> {
  const { socketPath, signal, logger } = given
  if (Buffer.byteLength(socketPath) > SOCKET_PATH_BYTES_MAX) {
    throw new PurserError('invalid_argument', `the socket path ${socketPath} is longer than 107 bytes`, {
      remedy: 'choose a shorter --state directory',
    })
  }
  const binary = await findServer(given.binary, signal)
  await mkdir(given.dataDir, { recursive: true, mode: 0o700 })
  const options = { ...given, dataDir: await realpath(given.dataDir) } // as Redis reports it
  await mkdir(dirname(socketPath), { recursive: true, mode: 0o700 })

  let session = await openSession(binary, options)
  logger.info({ pid: session.pid, socketPath, adopted: session.adopted }, 'redis answers')
  const stopping = new AbortController()
  const watching = AbortSignal.any([signal, stopping.signal])
  const adopted = session.adopted

  const keepAlive = async () => {
    const aborted = once(watching, 'abort')
    while (!watching.aborted) {
      await Promise.race([session.ended, aborted])
      if (watching.aborted) return
      logger.error({ pid: session.pid }, 'redis ended, starting it again')
      for (let delayMs = 50; !watching.aborted; delayMs = Math.min(delayMs * 2, 5000)) {
        try {
          session = await openSession(binary, { ...options, signal: watching })
          logger.info({ pid: session.pid, adopted: session.adopted }, 'redis answers again')
          break
        } catch (err) {
          if (watching.aborted) return
          logger.error({ err, delayMs }, 'redis did not start')
          await delay(delayMs, undefined, { signal: watching }).catch(() => {}) // The loop looks at the signal itself.
        }
      }
    }
  }
  const kept = keepAlive().finally(() => session.connection.disconnect())
  kept.catch((err) => logger.error({ err }, 'redis is no longer watched'))

  return {
    url: socketPath,
    socketPath,
    adopted,
    get pid() {
      return session.pid
    },
    async stop() {
      stopping.abort()
      await kept
      await shutDown(session.pid)
    },
  }
}

async function findServer(wanted: string | undefined, signal: AbortSignal): Promise<string> {
  const names = wanted === undefined ? ['redis-server', 'valkey-server'] : [wanted]
  for (const name of names) {
    try {
      const { stdout } = await promisify(execFile)(name, ['--version'], { signal })
      const version = /\bv=(\d+)\.\S+/.exec(stdout)
      if (Number(version?.[1] ?? 0) >= 7) return name
      throw new PurserError('failed_precondition', `${name} is too old: ${stdout.trim().slice(0, 80)}`, {
        remedy: 'install Redis 7 or newer, or set redis.url to a server elsewhere',
      })
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof PurserError) throw error
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') continue
      throw new PurserError('failed_precondition', `${name} --version failed`, {
        remedy: 'check that it is a Redis server and runs on this machine',
        cause: error,
      })
    }
  }
  throw new PurserError('failed_precondition', `there is no ${names.join(' or ')} on this machine`, {
    remedy: 'apt-get install redis-server, or set redis.url to a server elsewhere',
  })
}

async function openSession(binary: string, options: RedisOptions): Promise<Session> {
  const { dataDir, socketPath, signal } = options
  const startedMs = Date.now()
  const within = AbortSignal.any([signal, AbortSignal.timeout(START_MS_MAX)])
  let server: ChildProcess | undefined
  while (true) {
    within.throwIfAborted()
    const found = await connectTo(socketPath, dataDir, server)
    if (typeof found === 'object') return found
    if (found === 'nobody') {
      if (server === undefined) server = await spawnServer(binary, options)
      else if (server.exitCode === LOCK_HELD) {
        // Another server has the data: on its way up or down, or on a socket that we do not know.
        if (Date.now() - startedMs > LOCK_HELD_MS_MAX) throw lockHeld(dataDir)
        server = undefined
        await delay(100, undefined, { signal: within })
      } else if (server.exitCode !== null || server.signalCode !== null)
        throw await endedAtStart(binary, dataDir, server)
    }
    await delay(5, undefined, { signal: within })
  }
}

async function endedAtStart(binary: string, dataDir: string, server: ChildProcess): Promise<PurserError> {
  const path = join(dataDir, 'redis.log')
  const log = await readFile(path, 'utf8').catch(() => '')
  const end = log.trim().split('\n').slice(-3).join(' | ').slice(-600)
  const how = server.signalCode ?? `exit code ${server.exitCode}`
  return new PurserError('unavailable', `${binary} ended at its start (${how}): ${end}`, { remedy: `see ${path}` })
}

const lockHeld = (dataDir: string) =>
  new PurserError('failed_precondition', `another Redis server uses ${dataDir}, and does not answer on our socket`, {
    remedy: `end the daemon that has the same --root, or the server whose pid is in ${join(dataDir, 'redis.pid')}`,
  })

async function spawnServer(binary: string, { dataDir, socketPath }: RedisOptions): Promise<ChildProcess> {
  const settings: Record<string, string> = {
    port: '0',
    unixsocket: socketPath,
    unixsocketperm: '600',
    daemonize: 'no',
    supervised: 'no',
    dir: dataDir,
    pidfile: join(dataDir, 'redis.pid'),
    logfile: '',
    appendonly: 'yes',
    appendfsync: 'always',
    appenddirname: 'appendonlydir',
    'aof-load-truncated': 'yes', // The last write of a power cut was not acknowledged.
    'auto-aof-rewrite-min-size': '16mb',
    save: '',
    'maxmemory-policy': 'noeviction',
    // One user on one socket: what a shared server keeps in reserve is not needed.
    databases: '1',
    maxclients: '512',
    'repl-backlog-size': '16kb',
    'latency-tracking': 'no',
    'slowlog-max-len': '32',
  }
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value])
  await using log = await open(join(dataDir, 'redis.log'), 'a', 0o600)
  const lock = ['--no-fork', '--nonblock', '--conflict-exit-code', String(LOCK_HELD), join(dataDir, 'redis.lock')]
  const server = spawn('flock', [...lock, binary, ...args], {
    cwd: dataDir,
    detached: true,
    stdio: ['ignore', log.fd, log.fd],
  })
  await once(server, 'spawn')
  server.unref()
  return server
}

async function connectTo(
  socketPath: string,
  dataDir: string,
  server?: ChildProcess,
): Promise<Session | 'nobody' | 'busy'> {
  const connection = new Redis(socketPath, {
    lazyConnect: true,
    enableReadyCheck: false,
    retryStrategy: null,
    maxRetriesPerRequest: 0,
    connectTimeout: 5000,
    commandTimeout: 5000,
  })
  connection.on('error', () => {}) // connect() rejects with the same
  const ended = new Promise<void>((resolve) => connection.once('end', resolve))
  let found: 'nobody' | 'busy' = 'nobody'
  try {
    await connection.connect()
    found = 'busy'
    const [, dir] = (await connection.config('GET', 'dir')) as string[]
    if (dir !== dataDir) {
      throw new PurserError(
        'failed_precondition',
        `the Redis on ${socketPath} keeps its data in ${dir}, not ${dataDir}`,
        {
          remedy: 'give each daemon a --state directory of its own',
        },
      )
    }
    await connection.ping() // refused while the append-only file loads
    const pid = Number(/^process_id:(\d+)/m.exec(await connection.info('server'))?.[1])
    // An adopted server may have been started by an older release.
    await connection.config('SET', 'appendonly', 'yes', 'appendfsync', 'always', 'maxmemory-policy', 'noeviction')
    return { pid, connection, ended, adopted: pid !== server?.pid }
  } catch (error) {
    connection.disconnect()
    if (errorCodeOf(error) !== undefined) throw error
    return found
  }
}

async function shutDown(pid: number): Promise<void> {
  const deadline = Date.now() + STOP_MS_MAX
  sendSignal(pid, 'SIGTERM') // Redis flushes the append-only file and removes socket and pid file.
  while (await isAlive(pid)) {
    if (Date.now() > deadline) sendSignal(pid, 'SIGKILL')
    await delay(5)
  }
}

function sendSignal(pid: number, name: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(pid, name)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}

/** A zombie, whose parent does not wait for it, counts as gone. */
async function isAlive(pid: number): Promise<boolean> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
    return stat[stat.lastIndexOf(')') + 2] !== 'Z'
  } catch {
    return false
  }
}
