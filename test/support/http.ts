import { once } from 'node:events'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { type IncomingMessage, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { pino } from 'pino'
import { startHttp } from '../../src/api/http/server.ts'
import { serverSentEvents } from '../../src/client/server-sent-events.ts'
import { command } from '../../src/commands/command.ts'
import { aggregates } from '../../src/commands/index.ts'
import { ContentStore } from '../../src/content/store.ts'
import { openBooks } from '../../src/daemon/books.ts'
import { loadConfig } from '../../src/daemon/config.ts'
import { daemonMetrics, metricsText } from '../../src/daemon/metrics.ts'
import { peerOf } from '../../src/host/peer.ts'
import { Uploads } from '../../src/layout/uploads.ts'
import { rebuildState } from '../../src/log/rebuild.ts'
import type { Fact } from '../../src/model/aggregate.ts'
import { type Cause, type StoredEvent, spontaneous } from '../../src/model/event.ts'
import { Networks } from '../../src/network/networks.ts'
import { startProjections } from '../../src/projections/index.ts'
import { Progress } from '../../src/projections/progress.ts'
import { Observations } from '../../src/projections/sli/observations.ts'
import { Slis } from '../../src/projections/sli/slis.ts'
import { Changes } from '../../src/queue/changes.ts'
import { Intake } from '../../src/queue/intake.ts'
import { Outcomes } from '../../src/queue/outcomes.ts'
import { NodeSignatures } from '../../src/secrets/node-signatures.ts'
import { SealingKey } from '../../src/secrets/sealing-key.ts'
import { Shims } from '../../src/shim/shims.ts'
import { ImageArchives } from '../../src/workers/pull/archives.ts'
import { ImageDetails } from '../../src/workers/pull/details.ts'
import { SnapshotInsight } from '../../src/workers/snapshot/insight.ts'
import { taskActivity } from '../../src/workers/task/activity.ts'
import { CheckpointArchives } from '../../src/workers/task/checkpoint/write-archive.ts'
import { ContainerLogs } from '../../src/workers/task/container-logs.ts'
import { TaskDoctor } from '../../src/workers/task/doctor.ts'
import { ContainerFiles } from '../../src/workers/task/files.ts'
import { JobFiles } from '../../src/workers/task/job/files.ts'
import { TaskPaths } from '../../src/workers/task/paths.ts'
import { ContainerRoots } from '../../src/workers/task/roots.ts'
import { RuntimeInsight } from '../../src/workers/task/runtimes.ts'
import { SandboxInsight } from '../../src/workers/task/sandbox/insight.ts'
import { LiveSandboxes } from '../../src/workers/task/sandbox/live-sandboxes.ts'
import { TaskStatistics } from '../../src/workers/task/statistics.ts'
import { TaskStreams } from '../../src/workers/task/streams.ts'
import { Tasks } from '../../src/workers/task/tasks.ts'
import { httpOver } from './daemon.ts'
import { startTestRedis } from './redis.ts'
import { SEARCH_PATH } from './shims.ts'

export interface ApiOptions {
  stalledMs?: number
  group?: string
  /** Command types that wait for a worker, which there is none of here. */
  queued?: readonly string[]
}

/** The HTTP server on a real log, in the process of the test: so that it can append what it wants, and measure. */
export async function startApi({ stalledMs, group = 'purser', queued = ['image.pull'] }: ApiOptions = {}) {
  await using starting = new AsyncDisposableStack()
  const dir = await mkdtemp(join(tmpdir(), 'ph-'))
  starting.defer(() => rm(dir, { recursive: true, force: true, maxRetries: 5 }))
  await chmod(dir, 0o711) // Other users may have a right to the socket.
  const server = starting.use(await startTestRedis())
  const redis = new Redis(server.url, { maxRetriesPerRequest: 0, enableOfflineQueue: false, lazyConnect: true })
  redis.on('error', () => {}) // A test that takes Redis away means it.
  starting.defer(() => redis.disconnect())
  await redis.connect()
  const logger = pino({ level: 'silent' })
  const loaded = loadConfig(undefined, { root: join(dir, 'root'), state: join(dir, 'run'), level: undefined })
  const config = { ...loaded, redis: { ...loaded.redis, prefix: server.keyPrefix } }
  const books = await openBooks(config, redis, logger, starting)
  const { log } = books
  const projections = await startProjections(log, join(dir, 'root/projections'), logger, starting)
  const outcomes = new Outcomes(log)
  const intake = new Intake(log, outcomes, (type) => queued.includes(type))
  const content = await ContentStore.open(join(dir, 'content'))
  const uploads = await Uploads.open(join(dir, 'uploads'), config.images.archiveBytes)
  const paths = new TaskPaths(config.root, config.state)
  const shims = new Shims({
    stateDir: config.state,
    eventsAddress: join(config.state, 'events.ttrpc'),
    runtimes: {},
    searchPath: SEARCH_PATH,
    logger,
  })
  const { timeout: timeoutMs, ...cni } = config.network
  const networks = await Networks.open({ root: config.root, state: config.state, ...cni, timeoutMs, logger })
  const tasks = new Tasks({ log, intake, shims, paths, networks, logger })
  starting.defer(() => tasks.stop())
  const roots = new ContainerRoots({ view: log.documents, tasks, shims, snapshotters: new Map(), runDir: dir })
  const cgroupOf = (namespace: string, id: string) => paths.cgroup(namespace, id)
  const statistics = starting.use(new TaskStatistics({ log, tasks, cgroupOf, everyMs: 0, keepMs: 0, logger }))
  const streams = new TaskStreams(log, tasks, paths, new ContainerLogs({ log, paths, defaults: {}, logger }))
  const changes = new Changes(log)
  const register = daemonMetrics()
  const observations = starting.use(new Observations(join(dir, 'observations'), register, dir))
  const slis = new Slis(projections.sli, observations, config.slo)
  const socketPath = join(dir, 'purser.sock')
  const http = await startHttp({
    record: { refused: false, reads: false },
    services: {
      node: config.node,
      version: '0.0.0',
      log,
      books,
      intake,
      outcomes,
      progress: new Progress(),
      projections,
      sealing: await SealingKey.open(join(dir, 'seal.key')),
      archives: new ImageArchives(log.documents, content, uploads),
      referrers: async () => Promise.reject(new Error('there is no registry here')),
      imageDetails: new ImageDetails(log.documents, content),
      snapshots: new SnapshotInsight(log.documents, new Map()),
      files: new ContainerFiles(roots),
      checkpoints: new CheckpointArchives({
        view: log.documents,
        paths,
        signatures: new NodeSignatures(books.signer, []),
      }),
      activity: taskActivity(log.documents, tasks, statistics),
      streams,
      jobs: new JobFiles(log, changes, streams, paths),
      jobTurns: { turnOf: () => undefined },
      changes,
      slis,
      doctor: new TaskDoctor({ view: log.documents, tasks, shims, paths }),
      sandboxes: new SandboxInsight(log.documents, new LiveSandboxes({ log, changes, shims, logger })),
      runtimes: new RuntimeInsight(shims, 'runc', join(dir, 'probe')),
      metrics: (format) => metricsText(register, slis, format),
      notReady: async () => ((await redis.ping().catch(() => '')) === 'PONG' ? [] : ['Redis does not answer']),
      info: async () => ({}),
      rebuild: (mode) => rebuildState(log, redis, aggregates, mode),
    },
    socketPath,
    group,
    register,
    peerOf,
    logger,
    ...(stalledMs === undefined ? {} : { stalledMs }),
  })
  starting.use(http)
  const all = starting.move()
  const facts = (events: readonly Fact[], cause: Cause = spontaneous('test'), namespace = 'default') =>
    log.record(events, namespace, cause)
  return {
    dir,
    socketPath,
    log,
    redis,
    server,
    books,
    http: (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
      httpOver(socketPath, method, path, body, headers),
    facts,
    /** Ends a command as its worker would. */
    end: (id: string, type: 'command.succeeded' | 'command.failed', data: Record<string, unknown>) =>
      facts([command.fact(id, type, { durationMs: 1, ...data } as never)]),
    /** The sum of a metric over its labels. */
    async metric(name: string): Promise<number> {
      const found = await register.getSingleMetric(name)?.get()
      return found?.values.reduce((sum, { value }) => sum + value, 0) ?? 0
    },
    /** Stops serving. */
    stop: () => http[Symbol.asyncDispose](),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  }
}

export type Api = Awaited<ReturnType<typeof startApi>>

/** Asks, and returns as soon as the answer begins. */
export async function open(
  socketPath: string,
  path: string,
  headers: Record<string, string> = {},
): Promise<IncomingMessage> {
  const sent = request({ socketPath, path, headers, agent: false })
  sent.end()
  const [response] = await once(sent, 'response')
  sent.on('error', () => {}) // The connection is broken off, by the test or by the server: the body tells.
  return response
}

/** What a stream of events brings: its ids, the events, an error. */
export async function* read(response: IncomingMessage) {
  for await (const { id, event, data } of serverSentEvents(linesOf(response))) {
    yield { id: Number(id), type: event, data: data === undefined ? undefined : JSON.parse(data) }
  }
}

/** The positions of so many events. */
export async function positions(response: IncomingMessage, count: number): Promise<number[]> {
  const found: number[] = []
  if (count > 0) {
    for await (const { data } of read(response)) {
      if (data !== undefined) found.push((data as StoredEvent).position)
      if (found.length === count) break
    }
  }
  response.destroy()
  return found
}

async function* linesOf(response: IncomingMessage): AsyncGenerator<Buffer> {
  let rest = ''
  for await (const chunk of response) {
    const lines = `${rest}${chunk}`.split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) yield Buffer.from(line)
  }
}

/** A connection of which nothing is read until the test resumes it. */
export async function silentClient(socketPath: string, path: string, accept = '*/*'): Promise<Socket> {
  const socket = connect({ path: socketPath })
  socket.pause()
  await once(socket, 'connect')
  socket.write(`GET ${path} HTTP/1.1\r\nHost: purser\r\nAccept: ${accept}\r\nConnection: close\r\n\r\n`)
  return socket
}
