// A shim that does on demand what shims should not do. Its containers are processes of the host, without any walls.
// usage: odd-shim-program.ts BEHAVIOUR-FILE SHIM-ARGUMENT...
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, constants, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { create, type DescMethodUnary, fromBinary, toBinary } from '@bufbuild/protobuf'
import { type Any, AnySchema, timestampNow } from '@bufbuild/protobuf/wkt'
import { ERROR_CODES, PurserError, toPurserError } from '../../src/model/errors.ts'
import { BootstrapParamsSchema, BootstrapResultSchema } from '../../src/shim/gen/bootstrap_pb.ts'
import { TaskExitSchema } from '../../src/shim/gen/events_pb.ts'
import { Events } from '../../src/shim/gen/events_ttrpc_pb.ts'
import { CheckpointOptionsSchema } from '../../src/shim/gen/options_pb.ts'
import { Sandbox } from '../../src/shim/gen/sandbox_pb.ts'
import { Task } from '../../src/shim/gen/task_pb.ts'
import { TtrpcClient } from '../../src/shim/ttrpc-client.ts'
import { TtrpcServer } from '../../src/shim/ttrpc-server.ts'
import type { Behaviour } from './odd-shim.ts'
import { type SandboxCall, sandboxHandlers } from './odd-shim-sandbox.ts'

const [behaviourFile = '', ...argv] = process.argv.slice(2)
const flag = (name: string): string => argv[argv.indexOf(name) + 1] ?? ''
const behaviour = (): Behaviour => JSON.parse(readFileSync(behaviourFile, 'utf8'))
const identity = ['-namespace', flag('-namespace'), '-address', flag('-address'), '-id', flag('-id')]

/** Ends all connections, and takes new ones. */
let hangUp = async (): Promise<void> => {}

interface Container {
  child: ChildProcess
  pid: number
  bundle: string
  io: { stdin: string; stdout: string; stderr: string; terminal: boolean }
  status: 1 | 2 | 3 | 4
  exit: { exitStatus: number; exitedAt: ReturnType<typeof timestampNow> } | undefined
  ended: Promise<void>
}

const socketPath = (): string => {
  const name = createHash('sha256')
    .update(join(flag('-address'), flag('-namespace'), flag('-id')))
    .digest('hex')
  return join('/run/containerd/s', name)
}

if (argv.includes('-v')) process.stdout.write(`odd:\n  Version:  ${behaviour().says ?? '9.9.9'}\n`)
else if (argv.at(-1) === 'start') await start()
else if (argv.at(-1) === 'delete') deleteTask()
else await serve()

async function start(): Promise<void> {
  const { takes = 'options', answer = 'json', taskApi = 3, protocol = 'ttrpc', start: fault } = behaviour()
  const input = await buffer(process.stdin)
  const eventsAddress = takes === 'options' ? ofOptions(input) : ofParams(input)
  if (fault === 'never') await delay(3_600_000)
  if (fault === 'fail') fail('no space for a shim')
  const address = `unix://${socketPath()}`
  const server = spawn(process.execPath, [import.meta.filename, behaviourFile, ...identity, 'serve'], {
    detached: true,
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, TTRPC_ADDRESS: eventsAddress },
  })
  await once(server.stdout, 'data')
  server.stdout.destroy()
  server.unref()
  if (answer === 'address') process.stdout.write(address)
  else if (answer === 'garbage') process.stdout.write(Buffer.from([0x08, 0xff, 0xff, 0x00, 0x99]))
  else if (answer === 'json') process.stdout.write(JSON.stringify({ version: taskApi, address, protocol }))
  else {
    const result = create(BootstrapResultSchema, { version: taskApi, address, protocol })
    process.stdout.write(toBinary(BootstrapResultSchema, result))
  }
}

/** As a shim of before containerd 2.3: parameters in its place are an Any of a type that it does not know. */
function ofOptions(input: Uint8Array): string {
  const { typeUrl } = fromBinary(AnySchema, input)
  if (typeUrl !== '' && !typeUrl.endsWith('.Options')) fail(`type with url ${typeUrl} not found`)
  return process.env.TTRPC_ADDRESS ?? ''
}

function ofParams(input: Uint8Array): string {
  if (input.length === 0) fail('no bootstrap parameters')
  try {
    const { instanceId, namespace, containerdTtrpcAddress } = fromBinary(BootstrapParamsSchema, input)
    if (instanceId === flag('-id') && namespace === flag('-namespace')) return containerdTtrpcAddress
  } catch {
    // Options in their place are cut short.
  }
  return fail('these are no bootstrap parameters')
}

function fail(why: string): never {
  process.stderr.write(`${why}\n`)
  process.exit(1)
}

function deleteTask(): void {
  const bundle = flag('-bundle')
  try {
    process.kill(-Number(readFileSync(join(bundle, 'odd.pid'), 'utf8')), 'SIGKILL')
  } catch {
    // It has ended, or never was.
  }
}

async function serve(): Promise<void> {
  const { taskApi = 3, protocol = 'ttrpc', sandboxes } = behaviour()
  const containers = new Map<string, Container>()
  const events = await TtrpcClient.connect(process.env.TTRPC_ADDRESS ?? '', AbortSignal.timeout(10_000))
  const serving = (service: string, all: readonly DescMethodUnary[]) =>
    all.map((method) => {
      const handle = (payload: Uint8Array) => answer(method, payload, containers, events)
      return [`${service}/${method.name}`, handle] as const
    })
  const methods = new Map([
    ...serving(`containerd.task.v${taskApi}.Task`, Object.values(Task.method)),
    ...(sandboxes === undefined ? [] : serving(Sandbox.typeName, Object.values(Sandbox.method))),
  ])
  const listen = async () => {
    const server = protocol === 'grpc' ? await serveGrpc(methods) : await TtrpcServer.listen(socketPath(), methods)
    hangUp = async () => {
      await server.close()
      await listen()
    }
  }
  await listen()
  process.stdout.write('listening')
}

async function answer(
  method: DescMethodUnary,
  payload: Uint8Array,
  containers: Map<string, Container>,
  events: TtrpcClient,
): Promise<Uint8Array> {
  const fault = behaviour().faults?.[method.name] ?? {}
  if (fault.does === 'die') process.kill(process.pid, 'SIGKILL')
  if (fault.does === 'never') await delay(3_600_000)
  if (fault.does === 'hang-up') await hangUp()
  if (fault.delayMs !== undefined) await delay(fault.delayMs)
  if (fault.does === 'garbage') return Buffer.alloc(64, 0xff)
  if (fault.does === 'refuse') throw new PurserError('internal', 'out of order')
  const request = fromBinary(method.input, payload) as unknown as Request
  const reply = await handlers[method.name]?.(request, containers, events)
  if (reply === undefined) throw new PurserError('unimplemented', `${method.name} is not served here`)
  return toBinary(method.output, create(method.output, reply))
}

interface Request extends SandboxCall {
  id: string
  bundle: string
  stdin: string
  stdout: string
  stderr: string
  terminal: boolean
  signal: number
  path: string
  options?: Any
}

type Answer = Record<string, unknown>
type Handler = (request: Request, containers: Map<string, Container>, events: TtrpcClient) => Answer | Promise<Answer>

const handlers: Readonly<Record<string, Handler>> = {
  Create({ id, bundle, stdin, stdout, stderr, terminal }, containers, events) {
    const { process: init } = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8'))
    const streams = [stdout, stderr].map((path) => (path === '' ? 'ignore' : openSync(path, constants.O_RDWR)))
    const child = spawn('/bin/sh', ['-c', 'read -r go && exec "$0" "$@"', ...init.args], {
      stdio: ['pipe', ...streams],
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
      detached: true,
    })
    for (const stream of streams) if (typeof stream === 'number') closeSync(stream)
    const pid = child.pid ?? 0
    writeFileSync(join(bundle, 'odd.pid'), String(pid))
    writeFileSync(join(bundle, 'runtime'), '') // As the runc shim, whose name it may have.
    const { promise: ended, resolve } = Promise.withResolvers<void>()
    const io = { stdin, stdout, stderr, terminal }
    const container: Container = { child, pid, bundle, io, status: 1, exit: undefined, ended }
    child.on('exit', (code, signal) => {
      const exitStatus = code ?? 128 + (signal === 'SIGTERM' ? 15 : 9)
      container.exit = { exitStatus, exitedAt: timestampNow() }
      container.status = 3
      resolve()
      void reportExit(id, container, events)
    })
    containers.set(id, container)
    return { pid }
  },
  async Start({ id }, containers, events) {
    const container = of(containers, id)
    container.child.stdin?.end('go\n')
    container.status = 2
    const { exit = 'once' } = behaviour()
    if (exit === 'before-start') await container.ended.then(() => delay(100))
    if (exit === 'invented') await forward(id, container.pid, 99, events)
    if (exit === 'of-another') await forward(id, container.pid + 1, 99, events)
    return { pid: container.pid }
  },
  State({ id }, containers) {
    const { pid, status, bundle, io, exit } = of(containers, id)
    return { id, pid, status, bundle, ...io, ...exit }
  },
  async Wait({ id }, containers) {
    const container = of(containers, id)
    await container.ended
    return { ...container.exit }
  },
  Kill({ id, signal }, containers) {
    const { child, exit } = of(containers, id)
    if (exit) throw new PurserError('not_found', 'process already finished')
    child.kill(signal === 15 ? 'SIGTERM' : 'SIGKILL')
    return {}
  },
  async Checkpoint({ id, path, options }, containers) {
    const { exit, workPath } = fromBinary(CheckpointOptionsSchema, options?.value ?? new Uint8Array())
    const { checkpoint: how = 'whole' } = behaviour()
    writeFileSync(join(path, 'inventory.img'), how)
    if (how === 'half-refused') {
      writeFileSync(join(workPath, 'dump.log'), '(00.01) Error (criu/sk-inet.c:191): inet: Connected TCP socket\n')
      throw new PurserError('unknown', 'criu failed: type NOTIFY errno 0')
    }
    if (how === 'half-hangs') await delay(3_600_000)
    if (how === 'half-dies') process.kill(process.pid, 'SIGKILL')
    if (exit) of(containers, id).child.kill('SIGKILL')
    writeFileSync(join(workPath, 'stats-dump'), '')
    if (how === 'whole-unanswered') await delay(3_600_000)
    return {}
  },
  Pause({ id }, containers) {
    of(containers, id).status = 4
    return {}
  },
  Delete({ id }, containers) {
    const { pid, exit } = of(containers, id)
    containers.delete(id)
    return { pid, ...exit }
  },
  Connect({ id }, containers) {
    return { shimPid: process.pid, taskPid: containers.get(id)?.pid ?? 0, version: 'odd' }
  },
  Pids({ id }, containers) {
    return { processes: [{ pid: of(containers, id).pid }] }
  },
  Shutdown(_, containers) {
    if (containers.size === 0) end()
    return {}
  },
  ...sandboxHandlers(() => behaviour().sandboxes === 'timeless', end),
}

function end(): void {
  rmSync(socketPath(), { force: true })
  setTimeout(() => process.exit(0), 10)
}

function of(containers: Map<string, Container>, id: string): Container {
  const found = containers.get(id)
  if (found) return found
  throw new PurserError('not_found', `container ${id} not found`)
}

async function reportExit(id: string, { pid, exit }: Container, events: TtrpcClient): Promise<void> {
  const { exit: how = 'once' } = behaviour()
  if (how === 'unreported') return
  for (let times = how === 'twice' ? 2 : 1; times > 0; times -= 1) await forward(id, pid, exit?.exitStatus ?? 0, events)
}

async function forward(id: string, pid: number, exitStatus: number, events: TtrpcClient): Promise<void> {
  const exit = create(TaskExitSchema, { containerId: id, id, pid, exitStatus, exitedAt: timestampNow() })
  const event = create(AnySchema, { typeUrl: TaskExitSchema.typeName, value: toBinary(TaskExitSchema, exit) })
  const envelope = { timestamp: timestampNow(), namespace: flag('-namespace'), topic: '/tasks/exit', event }
  const options = { signal: AbortSignal.timeout(5000) }
  await events.call(Events.typeName, Events.method.forward, { envelope }, options).catch(() => {}) // Nobody listens just now.
}

async function serveGrpc(methods: ReadonlyMap<string, (payload: Uint8Array) => Promise<Uint8Array>>) {
  const server = createServer()
  const sessions = new Set<ServerHttp2Session>()
  server.on('session', (session) => sessions.add(session))
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    void (async () => {
      const request = await buffer(stream)
      let status = 0
      let message = ''
      let payload: Uint8Array | undefined
      try {
        const method = methods.get(String(headers[':path']).slice(1))
        if (!method) throw new PurserError('unimplemented', `${headers[':path']} is not served here`)
        payload = await method(request.subarray(5))
      } catch (thrown) {
        const error = toPurserError(thrown)
        status = ERROR_CODES[error.code].grpc
        message = error.message
      }
      if (stream.destroyed) return
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
      stream.on('wantTrailers', () =>
        stream.sendTrailers({ 'grpc-status': String(status), 'grpc-message': encodeURIComponent(message) }),
      )
      if (payload) {
        const prefix = Buffer.alloc(5)
        prefix.writeUInt32BE(payload.length, 1)
        stream.write(Buffer.concat([prefix, payload]))
      }
      stream.end()
    })()
  })
  mkdirSync('/run/containerd/s', { recursive: true })
  rmSync(socketPath(), { force: true })
  server.listen(socketPath())
  await once(server, 'listening')
  return {
    async close() {
      server.close()
      for (const session of sessions) session.destroy()
    },
  }
}
