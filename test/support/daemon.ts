import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { findLeftovers, listLeftovers, removeLeftovers } from './leftovers.ts'

const MAIN = join(import.meta.dirname, '../../src/cli/main.ts')
const READY_MS_MAX = 30_000
const STOP_MS_MAX = 30_000
const SETTLE_MS_MAX = 3000

export interface NodeOptions {
  /** Where its directory is made, instead of TMPDIR. */
  parent?: string
  /** Lines of TOML to begin the configuration file with. */
  config?: string
  env?: Readonly<Record<string, string>>
  /** Do not look for what the test left behind: it breaks the node on purpose. */
  expectLeftovers?: true
}

export interface CliResult {
  exitCode: number
  stdout: string
  stderr: string
}

export interface HttpResult {
  status: number
  headers: Readonly<Record<string, string | string[] | undefined>>
  text: string
  /** The body parsed; undefined when it is no JSON. */
  json: unknown
}

/** A daemon in a process of its own with directories of its own, and a CLI that speaks to it. */
export interface TestNode extends AsyncDisposable {
  readonly dir: string
  readonly root: string
  readonly state: string
  readonly socketPath: string
  /** Of the daemon that runs, or that ran last. */
  readonly pid: number
  /** Everything that daemons of this node have logged. */
  logs(): Promise<string>
  cli(...args: string[]): Promise<CliResult>
  /** Writes its configuration file anew, for the next start. */
  configure(toml: string): Promise<void>
  /** The CLI as a child process, for a test that writes to it, signals it or reads it while it runs. */
  spawnCli(...args: string[]): ChildProcess & { stdin: NonNullable<ChildProcess['stdin']> }
  http(method: string, path: string, body?: unknown, headers?: Readonly<Record<string, string>>): Promise<HttpResult>
  /** Kills the daemon itself, at once; Redis, shims and containers stay. */
  kill9(): Promise<void>
  kill9After(delayMs: number): Promise<void>
  /** SIGTERM, and its exit status. */
  stop(): Promise<number>
  /** Starts it again, after stopping it where it still runs; returns when it is ready. */
  restart(): Promise<void>
  /** Starts it without waiting for readiness. */
  start(): void
  ready(): Promise<void>
}

/** Starts a daemon and waits until it is ready. Disposing removes all of it, and fails when the daemon left something. */
export async function startNode(options: NodeOptions = {}): Promise<TestNode> {
  const dir = await mkdtemp(join(options.parent ?? tmpdir(), 'pt-')) // short: a socket's path has 107 bytes at most
  const root = `${dir}/root`
  const state = `${dir}/run`
  const socketPath = `${state}/purser.sock`
  const logPath = `${dir}/daemon.log`
  const configPath = `${dir}/purser.toml`
  const shared = process.env.REDIS_URL
  const redis = shared ? `[redis]\nurl = ${JSON.stringify(shared)}\nprefix = ${JSON.stringify(basename(dir))}\n` : ''
  const configure = (toml: string) => writeFile(configPath, `${toml}\n${redis}`)
  await configure(options.config ?? '')
  const env = { ...process.env, ...options.env }

  let daemon: ChildProcess | undefined
  let pid = 0
  const runs = () => daemon !== undefined && daemon.exitCode === null && daemon.signalCode === null
  const end = async (signal: 'SIGTERM' | 'SIGKILL'): Promise<number> => {
    const ending = daemon
    if (ending === undefined || !runs()) return ending?.exitCode ?? -1
    const exited = once(ending, 'exit')
    ending.kill(signal)
    const late = setTimeout(() => ending.kill('SIGKILL'), STOP_MS_MAX)
    await exited
    clearTimeout(late)
    return ending.exitCode ?? -1
  }

  const node: TestNode = {
    dir,
    root,
    state,
    socketPath,
    get pid() {
      return pid
    },
    logs: () => readFile(logPath, 'utf8').catch(() => ''),
    configure,
    spawnCli: (...args) => spawn(process.execPath, ['--', MAIN, '--address', socketPath, ...args], { env }),
    async cli(...args) {
      const child = node.spawnCli(...args)
      child.stdin.end()
      const [stdout, stderr, [code, signal]] = await Promise.all([
        child.stdout ? text(child.stdout) : '',
        child.stderr ? text(child.stderr) : '',
        once(child, 'close'),
      ])
      return {
        exitCode: typeof code === 'number' ? code : -1,
        stdout,
        stderr: signal ? `${stderr}[${signal}]` : stderr,
      }
    },
    http: (method, path, body, headers = {}) => httpOver(socketPath, method, path, body, headers),
    async kill9() {
      await end('SIGKILL')
    },
    async kill9After(delayMs) {
      await delay(delayMs)
      await end('SIGKILL')
    },
    stop: () => end('SIGTERM'),
    async restart() {
      await end('SIGTERM')
      node.start()
      await node.ready()
    },
    start() {
      const args = [MAIN, 'daemon', '--config', configPath, '--root', root, '--state', state]
      // A shell only to append to the log; exec makes the daemon the child. A runner that is killed takes it along.
      const command = ['--pdeathsig', 'KILL', '/bin/sh', '-c', 'log=$1; shift; exec "$@" >>"$log" 2>&1', 'sh', logPath]
      daemon = spawn('setpriv', [...command, process.execPath, ...args], { env, stdio: 'ignore', detached: true })
      pid = daemon.pid ?? 0
    },
    async ready() {
      const deadline = Date.now() + READY_MS_MAX
      while (true) {
        const status = await node.http('GET', '/readyz').then(
          (answer) => answer.status,
          () => 0, // nobody listens yet
        )
        if (status === 200) return
        if (!runs())
          throw new Error(`the daemon ended (${daemon?.exitCode ?? daemon?.signalCode}): ${await tail(node)}`)
        if (Date.now() > deadline) throw new Error(`the daemon is not ready: ${await tail(node)}`)
        await delay(20)
      }
    },
    [Symbol.asyncDispose]: async () => {
      const complaints = options.expectLeftovers ? [] : await endInOrder(node, runs)
      await end('SIGTERM')
      await killRedis(root)
      complaints.push(...(await removeLeftovers(dir, state)))
      await rm(dir, { recursive: true, force: true, maxRetries: 5 })
      if (complaints.length > 0) throw new Error(`left behind by the daemon of ${dir}:\n${complaints.join('\n')}`)
    },
  }
  node.start()
  try {
    await node.ready()
    return node
  } catch (error) {
    await end('SIGKILL')
    await removeLeftovers(dir, state)
    await rm(dir, { recursive: true, force: true, maxRetries: 5 })
    throw error
  }
}

/** Has the daemon remove its containers and stop. @returns what is on the host after that and should not be */
async function endInOrder(node: TestNode, runs: () => boolean): Promise<string[]> {
  try {
    if (!runs()) await node.restart()
    for (const namespace of new Set(['default', ...(await namesOf(node, 'namespaces'))])) {
      const ids = await namesOf(node, 'containers', namespace)
      if (ids.length === 0) continue
      const removed = await node.cli('-n', namespace, 'rm', '-f', ...ids)
      // One that is removed on its exit may be gone by itself meanwhile.
      const left = await namesOf(node, 'containers', namespace)
      if (left.length > 0) return [`rm -f ${left.join(' ')}: ${removed.stderr}`]
    }
    const stopped = await node.stop()
    if (stopped !== 0) return [`the daemon stopped with exit status ${stopped}: ${await tail(node)}`]
  } catch (error) {
    return [`the daemon did not end in order: ${error}`]
  }
  const deadline = Date.now() + SETTLE_MS_MAX
  while (true) {
    const left = listLeftovers(await findLeftovers(node.dir, node.state))
    if (left.length === 0 || Date.now() > deadline) return left
    await delay(20)
  }
}

async function namesOf(node: TestNode, kind: 'namespaces' | 'containers', namespace?: string): Promise<string[]> {
  const headers = namespace === undefined ? undefined : { 'purser-namespace': namespace }
  const answer = await node.http('GET', `/v1/${kind}?limit=1000`, undefined, headers)
  if (answer.status !== 200) throw new Error(`GET /v1/${kind}: ${answer.status} ${answer.text}`)
  const { items } = answer.json as { items: { id?: string; name?: string }[] }
  return items.map((item) => item.id ?? item.name ?? '')
}

/** After a daemon that was killed, or could not stop it. */
async function killRedis(root: string): Promise<void> {
  const pid = Number(await readFile(`${root}/redis/redis.pid`, 'utf8').catch(() => '0'))
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
  if (pid > 0 && /redis|valkey/.test(command)) process.kill(pid, 'SIGKILL')
}

const tail = async (node: TestNode): Promise<string> => (await node.logs()).slice(-2000)

/** One exchange over a Unix socket. */
export async function httpOver(
  socketPath: string,
  method: string,
  path: string,
  body: unknown,
  headers: Readonly<Record<string, string>>,
): Promise<HttpResult> {
  // A string goes as it is, so that a test can send what is no JSON.
  const bytes = body === undefined || typeof body === 'string' ? body : JSON.stringify(body)
  const sent = request({
    socketPath,
    method,
    path,
    agent: false,
    headers: { ...(bytes === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
  })
  sent.end(bytes)
  const [response] = await once(sent, 'response')
  sent.on('error', () => {}) // It may answer before it has read all.
  const answer = await text(response)
  return { status: response.statusCode, headers: response.headers, text: answer, json: parsed(answer) }
}

function parsed(answer: string): unknown {
  try {
    return JSON.parse(answer)
  } catch {
    return undefined
  }
}
