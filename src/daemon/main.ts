import { readFileSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { arch, availableParallelism } from 'node:os'
import { join } from 'node:path'
import { type Logger, pino } from 'pino'
import { serveMetrics } from '../api/http/metrics-listener.ts'
import { startHttp } from '../api/http/server.ts'
import type { Services } from '../api/services.ts'
import { CdiDevices } from '../cdi/devices.ts'
import { containers } from '../commands/container.ts'
import { aggregates } from '../commands/index.ts'
import { ContentStore } from '../content/store.ts'
import { cgroupVersion } from '../host/cgroups.ts'
import { removeTemporaryMounts } from '../host/mounts.ts'
import { peerOf } from '../host/peer.ts'
import { hostPressure } from '../host/pressure.ts'
import { preferThisThread } from '../host/priority.ts'
import { LayerPool } from '../layers/pool.ts'
import { Uploads } from '../layout/uploads.ts'
import { rebuildState } from '../log/rebuild.ts'
import { PurserError, toPurserError } from '../model/errors.ts'
import { Networks } from '../network/networks.ts'
import { parseReference } from '../oci/reference.ts'
import { startProjections } from '../projections/index.ts'
import { Progress } from '../projections/progress.ts'
import { Observations } from '../projections/sli/observations.ts'
import { Slis } from '../projections/sli/slis.ts'
import { Changes } from '../queue/changes.ts'
import { Harness } from '../queue/harness.ts'
import { checkRoutes, Intake } from '../queue/intake.ts'
import { Outcomes } from '../queue/outcomes.ts'
import { type Lane, Relay } from '../queue/relay.ts'
import { listReferrers } from '../registry/referrers.ts'
import { sagas } from '../sagas/index.ts'
import { JobScheduler } from '../sagas/jobs/scheduler.ts'
import { NodeSignatures } from '../secrets/node-signatures.ts'
import { SealingKey } from '../secrets/sealing-key.ts'
import { LogKeeper } from '../shim/keeper/log-keeper.ts'
import { Shims } from '../shim/shims.ts'
import { listenForTaskEvents } from '../shim/task-events.ts'
import { openSnapshotters } from '../snapshotters/index.ts'
import { ImageVerifier } from '../trust/verifier.ts'
import { gcHandlers } from '../workers/gc/index.ts'
import { collectAfterFailedPulls } from '../workers/gc/trigger.ts'
import { ImageArchives } from '../workers/pull/archives.ts'
import { ImageDetails } from '../workers/pull/details.ts'
import { removeDiscarded } from '../workers/pull/discard.ts'
import { pullHandlers } from '../workers/pull/index.ts'
import { Scrubber } from '../workers/pull/scrubber.ts'
import { SnapshotDurability } from '../workers/snapshot/durability.ts'
import { snapshotHandlers } from '../workers/snapshot/index.ts'
import { SnapshotInsight } from '../workers/snapshot/insight.ts'
import { taskActivity } from '../workers/task/activity.ts'
import { CgroupLayout } from '../workers/task/cgroup-layout.ts'
import { CheckpointArchives } from '../workers/task/checkpoint/write-archive.ts'
import { ContainerLogs } from '../workers/task/container-logs.ts'
import { TaskDoctor } from '../workers/task/doctor.ts'
import { ContainerFiles } from '../workers/task/files.ts'
import { HealthKeeper } from '../workers/task/health/keeper.ts'
import { IdRanges } from '../workers/task/id-ranges.ts'
import { taskHandlers } from '../workers/task/index.ts'
import { InitProgram } from '../workers/task/init-program.ts'
import { JobFiles } from '../workers/task/job/files.ts'
import { Workspaces } from '../workers/task/job/workspaces.ts'
import { CheckKeeper } from '../workers/task/network/check-keeper.ts'
import { NameKeeper } from '../workers/task/network/name-keeper.ts'
import { TaskPaths } from '../workers/task/paths.ts'
import { PoolKeeper } from '../workers/task/pool/keeper.ts'
import { PoolMembers } from '../workers/task/pool/members.ts'
import { reconcileTasks } from '../workers/task/reconcile.ts'
import { RestartKeeper } from '../workers/task/restart/keeper.ts'
import { ContainerRoots } from '../workers/task/roots.ts'
import { RuntimeInsight } from '../workers/task/runtimes.ts'
import { SandboxInsight } from '../workers/task/sandbox/insight.ts'
import { LiveSandboxes } from '../workers/task/sandbox/live-sandboxes.ts'
import { reconcileSandboxes } from '../workers/task/sandbox/reconcile.ts'
import { TaskStatistics } from '../workers/task/statistics.ts'
import { TaskStreams } from '../workers/task/streams.ts'
import { Tasks } from '../workers/task/tasks.ts'
import { UserFilesOfImages } from '../workers/task/user-files.ts'
import { openBooks, sealingKeyPath } from './books.ts'
import { requireDriver } from './cgroup-config.ts'
import { type Config, loadConfig } from './config.ts'
import { connectRedis, redisAt, redisUrl } from './connect.ts'
import { releaseWhenIdle } from './idle-memory.ts'
import { jobPlaces } from './jobs-config.ts'
import { lockDirectory } from './lock.ts'
import { appendMetric, daemonMetrics, metricsText, observe } from './metrics.ts'
import { recordMissing } from './missing.ts'
import { pulling } from './pulling.ts'
import { openRegistry } from './registry.ts'
import { openRuntimes, SEARCH_PATH, warnOfRuntimes } from './runtimes.ts'
import { serveImages } from './serve-images.ts'
import { proxiesOf } from './snapshot-config.ts'
import { bootSince, forgetUnsynced, rememberBoot, removeUnknownSnapshots, unpackAgain } from './snapshots-at-start.ts'
import { observeStorage, SnapshotUsage } from './storage-metrics.ts'
import { openTracer } from './tracing.ts'
import { recordTrust } from './trust.ts'

export interface DaemonOptions {
  config?: string | undefined
  root?: string | undefined
  state?: string | undefined
  debug: boolean
}

/** Of our own messages, when they cannot be written; those beyond it are dropped. */
const UNWRITTEN_BYTES_MAX = 1024 * 1024

/**
 * Runs the daemon until SIGTERM or SIGINT; containers go on.
 *
 * @returns the process's exit status
 * @throws PurserError when it cannot start
 */
export async function runDaemon(options: DaemonOptions): Promise<number> {
  const config = loadConfig(options.config, {
    root: options.root,
    state: options.state,
    level: options.debug ? 'debug' : undefined,
  })
  const logger = createLogger(config)
  const stop = new AbortController()
  const { promise: stopped, resolve } = Promise.withResolvers<void>()
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, () => {
      logger.info({ signal: name }, 'stopping')
      resolve()
    })
  }
  await using running = await startDaemon(config, logger, stop.signal)
  await stopped
  stop.abort(new PurserError('unavailable', 'the daemon stops'))
  await running[Symbol.asyncDispose]()
  logger.info('stopped; containers go on')
  logger.flush()
  return 0
}

function createLogger(config: Config): Logger {
  const options = { level: config.log.level, base: null, timestamp: pino.stdTimeFunctions.isoTime }
  if (process.stderr.isTTY)
    return pino({ ...options, transport: { target: 'pino-pretty', options: { destination: 2 } } })
  const destination = pino.destination({ dest: 2, sync: true, maxLength: UNWRITTEN_BYTES_MAX })
  destination.on('error', () => {}) // A full disk, or nobody who reads: what is kept is written with the next message.
  return pino(options, destination)
}

/** Starts every part, in the order they need each other; disposing ends them the other way round. */
export async function startDaemon(config: Config, logger: Logger, signal: AbortSignal): Promise<AsyncDisposable> {
  const begunAt = performance.now()
  preferThisThread()
  const version = readVersion()
  await using starting = new AsyncDisposableStack()
  const { root, state } = config
  requireDriver(config.cgroup)
  await mkdir(root, { recursive: true, mode: 0o700 })
  await mkdir(state, { recursive: true, mode: 0o711 })
  for (const [what, dir] of Object.entries({ root, state })) starting.use(await lockDirectory(dir, `--${what}`, signal))
  const runDir = join(state, 'mounts')
  await mkdir(runDir, { recursive: true, mode: 0o700 })
  await removeTemporaryMounts(runDir)

  const tracer = await openTracer(config, version, logger, starting)
  const url = await redisUrl(config, logger, signal, starting)
  const redis = await connectRedis(url, logger, starting)
  const register = daemonMetrics()
  const books = await openBooks(config, redis, logger, starting, appendMetric(register))
  const { log } = books
  const projections = await startProjections(log, join(root, 'projections'), logger, starting)

  const outcomes = new Outcomes(log)
  const lanes: Lane[] = [
    { kind: 'pull', concurrency: config.workers.pull, types: pullHandlers.map(({ type }) => type) },
    { kind: 'snapshot', concurrency: config.workers.snapshot, types: snapshotHandlers.map(({ type }) => type) },
    {
      kind: 'task',
      concurrency: config.workers.task,
      types: taskHandlers.map(({ type }) => type),
      immediate: new Set(['pool.claim', 'task.destroy']),
    },
    { kind: 'gc', concurrency: config.workers.gc, types: gcHandlers.map(({ type }) => type) },
    { kind: 'saga', concurrency: config.workers.saga, types: sagas.map(({ type }) => type) },
  ]
  const queued = new Set(lanes.flatMap(({ types }) => types))
  checkRoutes(queued)
  const intake = new Intake(log, outcomes, (type) => queued.has(type))

  const content = await ContentStore.open(join(root, 'content'))
  const snapshotters = await openSnapshotters(join(root, 'snapshotters'), proxiesOf(config.snapshotter))
  const boot = await bootSince(root)
  const toUnpack = await forgetUnsynced(log, boot, logger)
  await removeUnknownSnapshots(log, snapshotters, logger)
  await recordMissing(log, content, snapshotters, logger)
  const layers = new LayerPool({
    threads: config.workers.layerThreads ?? availableParallelism(),
    limits: config.unpack,
  })
  starting.defer(() => layers.close())
  const trust = await ImageVerifier.load(config.trust)
  await recordTrust(log, trust)
  const registry = starting.use(openRegistry(config.registry, { version, tracer, logger }))

  const parentOf = (namespace: string, id: string) => {
    const made = log.documents.get(containers, namespace, id)
    return made.status === 'absent' ? undefined : made.options.cgroupParent
  }
  const paths = new TaskPaths(root, state, new CgroupLayout(state, config.cgroup, parentOf))
  const sealing = await SealingKey.open(sealingKeyPath(root))
  const runtimes = await openRuntimes(config, signal)
  const eventsAddress = join(state, 'events.ttrpc')
  const shims = new Shims({
    stateDir: state,
    eventsAddress,
    runtimes: runtimes.byName,
    searchPath: SEARCH_PATH,
    spares: config.workers.spareShims,
    logger,
  })
  await shims.open(signal)
  starting.defer(() => shims.close())
  const { timeout: timeoutMs, checkEvery, default: defaultNetwork, ...cni } = config.network
  const networks = await Networks.open({ root, state, ...cni, timeoutMs, logger })
  const keeper =
    config.logs.whileAway === 'keep' ? starting.use(new LogKeeper(join(state, 'keeper.sock'), logger)) : undefined
  await keeper?.takeOver()
  const tasks = new Tasks({ log, intake, shims, paths, networks, logger })
  starting.defer(() => tasks.stop())
  await rm(eventsAddress, { force: true })
  const events = await listenForTaskEvents({
    socketPath: eventsAddress,
    logger,
    onEvent: (event) => tasks.onShimEvent(event),
  })
  starting.defer(() => events.close())

  const changes = new Changes(log)
  const sandboxes = new LiveSandboxes({ log, changes, shims, logger })
  starting.defer(() => sandboxes.stop())

  const progress = new Progress()
  const poolMembers = starting.use(new PoolMembers(log))
  const { whileAway: _, ...logDefaults } = config.logs
  const logs = new ContainerLogs({ log, paths, defaults: logDefaults, keeper, logger })
  const roots = new ContainerRoots({ view: log.documents, tasks, shims, snapshotters, runDir })
  const signatures = new NodeSignatures(books.signer, config.checkpoints.trustedKeys)
  const uploads = await Uploads.open(join(root, 'uploads'), config.images.archiveBytes)
  const workspaces = await Workspaces.open({
    root: join(root, 'jobs-sized'),
    paths,
    defaultBytes: config.jobs.workspaceBytes,
  })
  const streams = new TaskStreams(log, tasks, paths, logs)
  const effects = {
    poolMembers,
    streams,
    jobs: { artifactBytes: config.jobs.artifactBytes, workspaces },
    content,
    snapshotters,
    layers,
    registry,
    trust,
    ...pulling(config, content),
    progress,
    uploads,
    quarantineDir: join(root, 'quarantine'),
    runDir,
    shims,
    tasks,
    sandboxes,
    sandboxRuntime: runtimes.forSandboxes,
    paths,
    networks,
    defaultNetwork,
    stopDeadlines: config.stop,
    init: new InitProgram(config.initPath, SEARCH_PATH),
    sealing,
    signatures,
    defaultRuntime: runtimes.defaultFor,
    requireRuntime: (name: string) => shims.reports.require(name),
    userFiles: new UserFilesOfImages(runDir),
    cdi: new CdiDevices(config.cdi.specDirs),
    idRanges: new IdRanges(config.userns, paths),
    roots,
    logs,
    architecture: arch() === 'x64' ? 'amd64' : arch(),
    cgroupVersion: cgroupVersion(),
  }
  const harness = new Harness<typeof effects>({
    log,
    intake,
    outcomes,
    handlers: [...pullHandlers, ...snapshotHandlers, ...taskHandlers, ...gcHandlers, ...sagas],
    effects,
    tracer,
    logger,
  })
  const relay = new Relay({
    log,
    intake,
    harness,
    lanes,
    connect: () => redisAt(url, 'blocking', logger),
    prefix: `${config.redis.prefix}-queue`,
    tracer,
    logger,
  })
  starting.use(collectAfterFailedPulls(log, intake, logger))
  const durability = starting.use(
    new SnapshotDurability({ log, snapshotters, isBusy: () => effects.transfers.isActive, logger }),
  )
  starting.use(removeDiscarded({ log, store: content, sync: (within) => durability.sync(within), logger }))

  starting.use(new NameKeeper({ log, paths, logger }))
  // Before any command goes on: handlers find the tasks that they left.
  await reconcileSandboxes({ log, sandboxes, shims, paths, networks, boot, logger, signal })
  const reconciled = await reconcileTasks({ log, tasks, shims, paths, networks, logs, logger, boot, signal })
  await rememberBoot(root)
  await relay.start()
  starting.use(unpackAgain(toUnpack, intake, logger))
  starting.defer(async () => {
    await harness.stop()
    await relay.stop()
  })

  const pools = starting.use(new PoolKeeper({ log, intake, members: poolMembers, logger }))
  starting.use(new RestartKeeper({ log, intake, logger }))
  starting.use(new HealthKeeper({ log, intake, tasks, logger }))
  starting.use(new CheckKeeper({ log, networks, everyMs: checkEvery, logger }))
  const { atOnce, weights, keep } = config.jobs
  const places = jobPlaces(atOnce, config.workers.saga)
  const jobs = starting.use(new JobScheduler({ log, intake, places, weights, keepMs: keep, logger }))

  observe(register, { books, redis, relay, jobs, pools, projections, version })
  const stored = { log, snapshotters, root, logger }
  observeStorage(register, stored, starting.use(new SnapshotUsage(stored)))
  const cgroupOf = (namespace: string, id: string) => paths.cgroup(namespace, id)
  const statistics = starting.use(new TaskStatistics({ log, tasks, cgroupOf, ...config.stats, logger }))
  const observations = starting.use(new Observations(join(root, 'observations'), register, root))
  const slis = new Slis(projections.sli, observations, config.slo)
  const services: Services = {
    node: config.node,
    version,
    log,
    books,
    intake,
    outcomes,
    progress,
    projections,
    sealing,
    archives: new ImageArchives(log.documents, content, uploads),
    referrers: (image, type, within) => listReferrers(registry.open(parseReference(image)), type, within),
    imageDetails: new ImageDetails(log.documents, content),
    files: new ContainerFiles(roots),
    checkpoints: new CheckpointArchives({ view: log.documents, paths, signatures }),
    activity: taskActivity(log.documents, tasks, statistics),
    streams,
    jobs: new JobFiles(log, changes, streams, paths),
    jobTurns: jobs,
    changes,
    slis,
    doctor: new TaskDoctor({ view: log.documents, tasks, shims, paths }),
    sandboxes: new SandboxInsight(log.documents, sandboxes),
    runtimes: new RuntimeInsight(shims, runtimes.told.defaultRuntime, join(state, 'probe')),
    snapshots: new SnapshotInsight(log.documents, snapshotters),
    metrics: (format) => metricsText(register, slis, format),
    notReady: async () => ((await redis.ping().catch(() => '')) === 'PONG' ? [] : ['Redis does not answer']),
    info: async () => ({
      node: config.node,
      version,
      root,
      state,
      position: log.head,
      redis: config.redis.url === undefined ? 'embedded' : 'external',
      snapshotters: [...snapshotters.keys()],
      runtimes: Object.keys(runtimes.byName),
      ...runtimes.told,
      cgroupVersion: effects.cgroupVersion,
      pressure: hostPressure(),
      containers: log.documents.count('container'),
      images: log.documents.count('image'),
      queues: Object.fromEntries(relay.depth()),
      pid: process.pid,
    }),
    rebuild: async (mode) => rebuildState(log, redis, aggregates, mode, await books.snapshots.base(log)),
  }
  starting.use(await serveImages(config, { log, intake, content, logger }))
  starting.use(
    await startHttp({
      services,
      socketPath: join(state, 'purser.sock'),
      group: config.group,
      record: config.audit,
      register,
      peerOf,
      tracer,
      logger,
    }),
  )
  if (config.metrics.listen !== undefined)
    starting.use(await serveMetrics(config.metrics.listen, services.metrics, logger))
  starting.use(new Scrubber({ ...config.scrub, log, intake, content, file: join(root, 'scrub.json'), logger }))
  starting.use(releaseWhenIdle(logger))
  void warnOfRuntimes(shims, logger)
  logger.info({ ...reconciled, position: log.head, startMs: Math.round(performance.now() - begunAt) }, 'ready')
  return starting.move()
}

function readVersion(): string {
  const file = new URL('../../package.json', import.meta.url)
  try {
    return String(JSON.parse(readFileSync(file, 'utf8')).version)
  } catch (error) {
    throw toPurserError(error)
  }
}
