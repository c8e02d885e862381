import { mkdirSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Logger } from 'pino'
import { PurserError } from '../model/errors.ts'
import type { Spec } from '../oci/spec/schema.ts'
import { isAnyMessage } from './any-messages.ts'
import { formatShimAddress, type ShimAddress } from './bootstrap.ts'
import { CircuitBreaker } from './circuit-breaker.ts'
import { GrpcTaskClient } from './grpc-task-client.ts'
import { ProgramFacts } from './program-facts.ts'
import { makeRuntimeNamespace, PROTECTED_PROGRAM, type RuntimeNamespace } from './runtime-namespace.ts'
import { RuntimeReports } from './runtime-report.ts'
import type { Runtime, RuntimeConfig } from './runtimes.ts'
import { SeccompPrograms } from './seccomp-programs.ts'
import { Shim, type ShimIdentity, type TaskState } from './shim.ts'
import { ShimLog } from './shim-log.ts'
import {
  isGrouped,
  killShims,
  noteGroup,
  readShimAddress,
  removeFromRuntime,
  removeShimRemains,
  removeShimTraces,
  removeSpares,
  type ShimProgram,
  shimsByTask,
} from './shim-remains.ts'
import { ShimStarter } from './shim-start.ts'
import { type SpareShim, SpareShims } from './spare-shims.ts'
import type { ProcessStdio } from './stdio.ts'
import type { AnyMessage } from './task-stats.ts'
import { TtrpcClient } from './ttrpc-client.ts'

/** Shims call this to publish an event when ttrpc does not reach us: it must exist, and may do nothing. */
const PUBLISH_BINARY = '/bin/true'

/** How long cleaning up after a failed start may take; the caller's own signal may have aborted by then. */
const CLEAN_UP_MS = 30_000

/** How long the shim of a sandbox has to let go of one of its tasks. */
const GROUP_MS = 5000

const SIGKILL = 9

export interface ShimsConfig {
  /** Ours alone: two daemons with different ones do not meet, whatever their namespaces and ids. */
  stateDir: string
  /** Socket of our Events service. */
  eventsAddress: string
  /** By runtime name. */
  runtimes: Readonly<Record<string, RuntimeConfig>>
  /** Directories with the shims and runtimes, as in `PATH`; theirs too. */
  searchPath: string
  /** How many are started ahead for each runtime and namespace in use; none by default. */
  spares?: number
  logger: Pick<Logger, 'debug' | 'warn'>
}

/** Which task, and by which runtime. */
export interface TaskRequest extends ShimIdentity {
  runtime: string
}

/** What a shim that was tried says of itself. */
export interface ShimProbe {
  protocol: 'ttrpc' | 'grpc'
  taskApi: 2 | 3
  shimPid: number
  /** From its start to its first answer. */
  answeredMs: number
}

/** Starts shims, finds those that are running, and removes what dead ones leave. */
export class Shims {
  readonly #config: ShimsConfig
  readonly #grpcAddress: string
  readonly #starter: ShimStarter
  /** What the runtimes are, and which are not used. */
  readonly reports: RuntimeReports
  readonly #sparesDir: string
  readonly #spares: SpareShims
  readonly #seccomp = new SeccompPrograms()
  #shared: RuntimeNamespace | undefined

  constructor(config: ShimsConfig) {
    this.#config = config
    this.#grpcAddress = join(config.stateDir, 'containerd.sock')
    const { runtimes, searchPath } = config
    const facts = new ProgramFacts(searchPath)
    this.#starter = new ShimStarter(facts, config.eventsAddress)
    const runcRoot = join(config.stateDir, 'runc')
    this.reports = new RuntimeReports({ runtimes, searchPath, runcRoot, facts })
    this.#sparesDir = join(config.stateDir, 'spares')
    this.#spares = new SpareShims(
      this.#sparesDir,
      config.spares ?? 0,
      (request, signal) => this.#launch(request, this.#program(request.runtime), request.readFds, signal),
      config.logger,
    )
  }

  /** Removes the spare shims of an earlier daemon: before any other call. */
  async open(signal: AbortSignal): Promise<void> {
    await removeSpares(this.#sparesDir, this.#grpcAddress, signal)
    const apart = Object.entries(this.#config.runtimes).flatMap(([name, { isApart }]) => (isApart ? [name] : []))
    if (apart.length > 0) this.#shared = await makeRuntimeNamespace(this.#programsOf(apart), signal)
  }

  /** Those that there are. */
  #programsOf(names: readonly string[]): ReadonlySet<string> {
    const files = names.map((name) => {
      try {
        return this.reports.resolve(name).runcFile
      } catch {
        return undefined // Whoever uses it is told why not.
      }
    })
    return new Set(files.filter((file) => file !== undefined))
  }

  /** Ends the shims that no task has; those of tasks go on. */
  async close(): Promise<void> {
    await this.#spares.close()
    this.#shared?.[Symbol.dispose]()
  }

  /**
   * Takes a shim that was started ahead, where there is one: its directory becomes the bundle. To be given to
   * {@link start}.
   */
  takeSpare({ namespace, runtime, bundle }: TaskRequest): SpareShim | undefined {
    return this.#spares.take({ namespace, runtime }, bundle)
  }

  /**
   * Starts the shim of one task. The bundle holds `config.json` already; the shim outlives us.
   *
   * @param request.stdio of the task's first process: the shim keeps it open, so that what the task writes while we are
   * away is still there when we come back
   * @param request.spare started ahead; it holds these streams already
   * @param request.mounts `present` for a task that needs what was mounted on the host just now
   * @throws PurserError failed_precondition when a program is not installed, internal when the shim says why it fails
   */
  async start(
    request: TaskRequest & {
      stdio?: ProcessStdio
      spare?: SpareShim | undefined
      mounts?: 'present' | 'any'
      signal: AbortSignal
    },
  ): Promise<Shim> {
    const { namespace, id, spare, mounts, signal } = request
    const program = this.#program(request.runtime, mounts)
    // Of other shims it is not known what else they do once they run.
    if (program.runtime.runcFile !== undefined) this.#spares.wanted(request)
    if (spare !== undefined) {
      spare.log.relabel({ namespace, task: id })
      return spare.shim.forTask(request, () => removeFromRuntime(request, program, AbortSignal.timeout(CLEAN_UP_MS)))
    }
    const { shim } = await this.#launch(request, program, request.stdio?.readFds ?? [], signal)
    return shim
  }

  async #launch(
    request: ShimIdentity,
    program: ShimProgram,
    readFds: readonly number[],
    signal: AbortSignal,
  ): Promise<{ shim: Shim; log: ShimLog }> {
    const { bundle, id } = request
    const log = ShimLog.open(bundle, this.#config.logger, { namespace: request.namespace, task: id })
    try {
      mkdirSync(join(bundle, 'rootfs'), { recursive: true, mode: 0o711 })
      const address = await this.#starter.start(request, program, readFds, signal)
      writeFileSync(join(bundle, 'bootstrap.json'), formatShimAddress(address))
      const shim = await this.#connect(request, program, address, signal)
      void shim.closed.then(() => log.close())
      return { shim, log }
    } catch (error) {
      log.close()
      await this.#removeQuietly(request, program)
      throw error
    }
  }

  /**
   * Starts the shim of a sandbox, which is to have any number of tasks; as {@link start}, and it sees what is mounted now.
   *
   * @param request.readFds reading ends of streams, for the shim to hold
   * @param request.options instead of those that the runtime is configured with
   */
  async startForSandbox(
    request: TaskRequest & { readFds: readonly number[]; options: AnyMessage | undefined; signal: AbortSignal },
  ): Promise<Shim> {
    const { readFds, options, signal } = request
    const configured = this.#program(request.runtime, 'present')
    const runtime = options === undefined ? configured.runtime : { ...configured.runtime, options }
    const { shim } = await this.#launch(request, { ...configured, runtime }, readFds, signal)
    return shim
  }

  /**
   * Has a task be one more of the shim of a sandbox, by a connection of its own: it is adopted by its own bundle later.
   *
   * @throws PurserError unavailable when that shim is gone
   */
  async join(request: TaskRequest & { sandbox: ShimIdentity; signal: AbortSignal }): Promise<Shim> {
    const { bundle, sandbox, signal } = request
    const address = await readShimAddress(sandbox.bundle)
    if (!address) throw new PurserError('unavailable', `the shim of sandbox ${sandbox.id} is gone`)
    noteGroup(bundle, sandbox)
    writeFileSync(join(bundle, 'bootstrap.json'), formatShimAddress(address))
    return await this.#connect(request, this.#program(request.runtime), address, signal)
  }

  /** Whether a task is one of several in the shim of a sandbox. */
  isGrouped({ bundle }: Pick<ShimIdentity, 'bundle'>): boolean {
    return isGrouped(bundle)
  }

  /** The running shim of a task that an earlier daemon started; undefined when it does not answer any more. */
  async adopt(request: TaskRequest & { signal: AbortSignal }): Promise<Shim | undefined> {
    const { bundle, id, signal } = request
    const address = await readShimAddress(bundle)
    if (!address) return undefined
    // What the shim of a sandbox writes of itself is read by whoever has that.
    const log = isGrouped(bundle)
      ? undefined
      : ShimLog.open(bundle, this.#config.logger, { namespace: request.namespace, task: id })
    try {
      const shim = await this.#connect(request, this.#program(request.runtime), address, signal)
      if (log) void shim.closed.then(() => log.close())
      await shim.connect(signal)
      return shim
    } catch (error) {
      log?.close()
      if (error instanceof PurserError && error.code === 'unavailable') return undefined
      throw error
    }
  }

  /**
   * Starts a shim without a task, asks it who it is, and ends it: what tells that a runtime works as far as its shim.
   *
   * @param dir made and removed here
   * @throws PurserError as {@link start}
   */
  async probe(runtime: string, dir: string, signal: AbortSignal): Promise<ShimProbe> {
    const request = { namespace: 'default', id: basename(dir), bundle: dir, runtime }
    const program = this.#program(runtime)
    mkdirSync(dir, { recursive: true, mode: 0o711 })
    try {
      writeFileSync(join(dir, 'config.json'), '{}', { mode: 0o600 })
      const begunAt = performance.now()
      const { shim } = await this.#launch(request, program, [], signal)
      const { shimPid } = await shim.connect(signal)
      const answeredMs = performance.now() - begunAt
      const { protocol, taskApi } = shim
      await shim.shutdown(signal)
      return { protocol, taskApi, shimPid, answeredMs: Math.round(answeredMs) }
    } finally {
      await this.#removeQuietly(request, program)
      await rm(dir, { recursive: true, force: true })
    }
  }

  /** Pids of the shims that run, by `namespace/id`. */
  async running(bundles: readonly ShimIdentity[]): Promise<ReadonlyMap<string, number[]>> {
    return await shimsByTask(bundles, this.#grpcAddress)
  }

  /**
   * Asks the shim of a task by a connection of its own what it knows.
   *
   * @returns what it answers, and after how many milliseconds; undefined when nothing listens
   * @throws PurserError deadline_exceeded when it does not answer within `withinMs`, or as it answers
   */
  async ask(request: TaskRequest, withinMs: number): Promise<{ state: TaskState; answeredMs: number } | undefined> {
    const address = await readShimAddress(request.bundle)
    if (!address) return undefined
    const within = AbortSignal.timeout(withinMs)
    const begunAt = performance.now()
    try {
      using shim = await this.#connect(request, this.#program(request.runtime), address, within)
      const state = await shim.state({}, within)
      return { state, answeredMs: Math.round(performance.now() - begunAt) }
    } catch (error) {
      if (within.aborted) throw new PurserError('deadline_exceeded', `it did not answer within ${withinMs} ms`)
      if (error instanceof PurserError && error.code === 'unavailable') return undefined
      throw error
    }
  }

  /** Whether its containers are processes of this kernel, with a root directory of their own: not in a sandbox of theirs. */
  runsOnTheHost(name: string): boolean {
    return this.#program(name).runtime.runcFile !== undefined
  }

  /** A specification as its runtime takes it fastest. */
  prepareSpec(runtime: string, spec: Spec): Spec {
    return this.#crunState(runtime) === undefined ? spec : this.#seccomp.addTo(spec)
  }

  /** Of a container that was created from this specification. */
  async learnFrom({ runtime, namespace, id }: TaskRequest, spec: Spec): Promise<void> {
    const state = this.#crunState(runtime)
    if (state !== undefined) await this.#seccomp.learn(spec, join(state, namespace, id, 'seccomp.bpf'))
  }

  /** Where crun keeps the containers of this runtime, if it is crun. */
  #crunState(name: string): string | undefined {
    const { runcFile, options } = this.#program(name).runtime
    const isCrun = runcFile !== undefined && basename(runcFile) === 'crun'
    return isCrun && options !== undefined && !isAnyMessage(options) ? options.root : undefined
  }

  /** Whether its shims live in a mount namespace of their own: what they mount is not seen from here. */
  isApart(name: string): boolean {
    return this.#program(name).runtime.isApart
  }

  /** What is left of a task that its shim has deleted, once that has ended too; nothing needs to be killed. */
  async removeTraces(request: TaskRequest & { signal: AbortSignal }): Promise<void> {
    this.#spares.postpone(request)
    await removeShimTraces(request, this.#program(request.runtime), request.signal)
  }

  /** Ends the shim of a task at once, and waits until it is gone; its container is left alone. */
  async killShim(request: TaskRequest & { signal: AbortSignal }): Promise<void> {
    await killShims(request, this.#grpcAddress, request.signal)
  }

  /** @see removeShimRemains */
  async removeRemains(request: TaskRequest & { signal: AbortSignal }): Promise<void> {
    if (isGrouped(request.bundle)) await this.#deleteFromGroup(request)
    await removeShimRemains(request, this.#program(request.runtime), request.signal)
  }

  /** The shim of a sandbox knows its tasks, and has mounted what is theirs. What it does not do is done without it. */
  async #deleteFromGroup(request: TaskRequest & { signal: AbortSignal }): Promise<void> {
    const address = await readShimAddress(request.bundle)
    if (!address) return
    const within = AbortSignal.any([request.signal, AbortSignal.timeout(GROUP_MS)])
    try {
      using shim = await this.#connect(request, this.#program(request.runtime), address, within)
      await shim.kill({ signal: SIGKILL, all: true }, within).catch(() => {}) // It may have ended.
      await shim.wait({}, within)
      await shim.delete({}, within)
    } catch (err) {
      const { namespace, id } = request
      this.#config.logger.debug({ namespace, task: id, err }, 'the shim of a sandbox does not delete a task')
    }
  }

  async #connect(
    request: ShimIdentity,
    program: ShimProgram,
    address: ShimAddress,
    signal: AbortSignal,
  ): Promise<Shim> {
    const Client = address.protocol === 'grpc' ? GrpcTaskClient : TtrpcClient
    const client = new CircuitBreaker(await Client.connect(address.socketPath, signal))
    const { namespace, id, bundle } = request
    return new Shim({
      identity: { namespace, id, bundle },
      client,
      taskApi: address.version,
      protocol: address.protocol,
      callMs: program.runtime.callMs,
      options: program.runtime.options,
      removeContainer: () => removeFromRuntime(request, program, AbortSignal.timeout(CLEAN_UP_MS)),
    })
  }

  async #removeQuietly(request: ShimIdentity, program: ShimProgram): Promise<void> {
    try {
      await removeShimRemains(request, program, AbortSignal.timeout(CLEAN_UP_MS))
    } catch (err) {
      const { namespace, id } = request
      this.#config.logger.warn({ namespace, task: id, err }, 'a failed start left remains')
    }
  }

  /** @param mounts `present`: those of the host as they are now must be seen, wherever they propagate */
  #program(name: string, mounts: 'present' | 'any' = 'any'): ShimProgram {
    const { searchPath, eventsAddress } = this.#config
    const runtime = this.reports.resolve(name)
    const env = {
      PATH: pathWithCriu(runtime, searchPath),
      TTRPC_ADDRESS: eventsAddress,
      GRPC_ADDRESS: this.#grpcAddress,
      GOMAXPROCS: '2',
      MAX_SHIM_VERSION: '3',
      ...(runtime.isApart ? PROTECTED_PROGRAM : {}),
    }
    const shared = mounts === 'any' ? this.#shared : undefined
    return { runtime, env, shared, grpcAddress: this.#grpcAddress, publishBinary: PUBLISH_BINARY }
  }
}

/** Newer ones of runc take CRIU from the search path alone. */
function pathWithCriu({ options }: Runtime, searchPath: string): string {
  const criu = options === undefined || isAnyMessage(options) ? undefined : options.criuPath
  return criu === undefined ? searchPath : `${dirname(criu)}:${searchPath}`
}
