import {
  create,
  type DescMessage,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf'
import type { Any } from '@bufbuild/protobuf/wkt'
import { whileWanted } from '../model/concurrency.ts'
import { PurserError } from '../model/errors.ts'
import {
  anyCheckpointOptions,
  anyJson,
  anyOptions,
  type CheckpointOptions,
  isAnyMessage,
  type RuncOptions,
} from './any-messages.ts'
import { Task } from './gen/task_pb.ts'
import { MountSchema } from './gen/types_pb.ts'
import { SandboxApi } from './sandbox-api.ts'
import type { CallOptions, TaskClient } from './task-client.ts'
import { readableTaskError } from './task-error.ts'
import { type AnyMessage, type TaskStats, taskStats } from './task-stats.ts'
import { formatTimestamp } from './timestamps.ts'

export type TaskStatus = 'unknown' | 'created' | 'running' | 'stopped' | 'paused' | 'pausing'

const STATUSES: readonly TaskStatus[] = ['unknown', 'created', 'running', 'stopped', 'paused', 'pausing']

/** A mount as containerd writes it: the shim makes it below the bundle's `rootfs`. */
export interface TaskMount {
  type: string
  source: string
  target?: string
  options: readonly string[]
}

/** Paths of FIFOs, or `file:` and `binary:` URIs; empty for none. Stdout without stderr works only on a terminal. */
export interface TaskIo {
  stdin: string
  stdout: string
  stderr: string
  terminal: boolean
}

export interface TaskExit {
  /** As wait(2) has it, and 128 + the signal for a process that was killed by one. */
  exitCode: number
  /** RFC 3339 with nanoseconds. */
  exitedAt: string | undefined
}

export interface TaskState extends TaskIo {
  pid: number
  status: TaskStatus
  bundle: string
  /** Set once `status` is stopped. */
  exit: TaskExit | undefined
}

export interface ShimIdentity {
  namespace: string
  id: string
  bundle: string
}

export interface ShimConnection {
  identity: ShimIdentity
  client: TaskClient
  /** Version of the task service. */
  taskApi: 2 | 3
  protocol: 'ttrpc' | 'grpc'
  /** Milliseconds for a call that runs something; of those that do not, less where they usually have more. */
  callMs: number
  /** The runtime's, for `create`. */
  options: RuncOptions | AnyMessage | undefined
  /** Removes from the runtime what a failed create leaves there. */
  removeContainer(): Promise<void>
}

const NO_IO: TaskIo = { stdin: '', stdout: '', stderr: '', terminal: false }

/** How long a shim has for calls that touch nothing but its own memory, at most. */
const QUICK_MS = 10_000
/** How long for those that have the runtime do something short, at most. */
const SHORT_MS = 30_000

/**
 * The live connection to the shim of a task, or of a sandbox. Every call rejects with a PurserError: `not_found` for a task or process that
 * the shim does not know (any more), `unavailable` when the shim is dead, or the runtime's own sentence.
 */
export class Shim {
  readonly namespace: string
  readonly id: string
  readonly bundle: string
  readonly #connection: ShimConnection
  readonly #client: TaskClient
  readonly #service: string
  readonly #options: Any | undefined
  readonly #removeContainer: () => Promise<void>

  constructor(connection: ShimConnection) {
    const { identity, client, taskApi, options, removeContainer } = connection
    this.#connection = connection
    this.namespace = identity.namespace
    this.id = identity.id
    this.bundle = identity.bundle
    this.#client = client
    this.#service = `containerd.task.v${taskApi}.Task`
    this.#options = options === undefined ? undefined : anyOptions(options)
    this.#removeContainer = removeContainer
  }

  /** This connection, for the task that the shim is to have. */
  forTask(identity: ShimIdentity, removeContainer: () => Promise<void>): Shim {
    return new Shim({ ...this.#connection, identity, removeContainer })
  }

  /** Fulfilled when the shim is gone: after `shutdown`, or because it died, which leaves its container running. */
  get closed(): Promise<void> {
    return this.#client.closed
  }

  get isClosed(): boolean {
    return this.#client.isClosed
  }

  /** What the shim may serve besides tasks: the sandbox of this id. */
  get sandbox(): SandboxApi {
    return new SandboxApi(this.#client, this.id, this.#connection.callMs)
  }

  get taskApi(): 2 | 3 {
    return this.#connection.taskApi
  }

  get protocol(): 'ttrpc' | 'grpc' {
    return this.#connection.protocol
  }

  /** Creates the task: its process waits, started but not yet executing the program. */
  async create(
    request: {
      rootfs?: readonly TaskMount[]
      io?: TaskIo
      /** Directory of the images that its processes go on from, once it is started: there is no process until then. */
      checkpoint?: string | undefined
      /** Who opens its pipes anew, as /dev/stdout: root of its user namespace. */
      ioOwner?: { uid: number; gid: number } | undefined
    },
    signal: AbortSignal,
  ): Promise<{ pid: number }> {
    const { io = NO_IO, rootfs = [], checkpoint = '', ioOwner } = request
    const options = this.#optionsWith(ioOwner)
    try {
      const { pid } = await this.#call(
        Task.method.create,
        {
          id: this.id,
          bundle: this.bundle,
          rootfs: rootfs.map((mount) => create(MountSchema, { ...mount, options: [...mount.options] })),
          ...io,
          checkpoint,
          ...(options === undefined ? {} : { options }),
        },
        signal,
      )
      return { pid }
    } catch (error) {
      // A create that fails late leaves a `runc init` behind, which the shim itself no longer knows.
      if (!signal.aborted && !(error instanceof PurserError && error.code === 'unavailable'))
        await this.#removeContainer()
      throw error
    }
  }

  /** The runtime's, where it is one that takes an owner of pipes. */
  #optionsWith(owner: { uid: number; gid: number } | undefined): Any | undefined {
    const { options } = this.#connection
    if (owner === undefined || options === undefined || isAnyMessage(options)) return this.#options
    return anyOptions({ ...options, ioUid: owner.uid, ioGid: owner.gid })
  }

  async start(process: { execId?: string }, signal: AbortSignal): Promise<{ pid: number }> {
    const { pid } = await this.#call(Task.method.start, { id: this.id, execId: process.execId ?? '' }, signal)
    return { pid }
  }

  /**
   * Adds a process to the task; `start` with its id begins it.
   *
   * @param request.process `process` of the OCI runtime spec
   */
  async exec(request: { execId: string; process: object; io?: TaskIo }, signal: AbortSignal): Promise<void> {
    const { execId, process, io = NO_IO } = request
    const spec = anyJson('types.containerd.io/opencontainers/runtime-spec/1/Process', process)
    await this.#call(Task.method.exec, { id: this.id, execId, spec, ...io }, signal)
  }

  /** @param request.all every process of the task, not only the named one */
  async kill(request: { signal: number; execId?: string; all?: true }, signal: AbortSignal): Promise<void> {
    const { execId = '', all = false } = request
    await this.#short(Task.method.kill, { id: this.id, execId, signal: request.signal, all }, signal)
  }

  /** Waits for the end of a process, and answers at once for one that has ended, until it is deleted. */
  async wait(process: { execId?: string }, signal: AbortSignal): Promise<TaskExit> {
    const { exitStatus, exitedAt } = await this.#within(
      Task.method.wait,
      { id: this.id, execId: process.execId ?? '' },
      { signal },
    )
    return { exitCode: exitStatus, exitedAt: formatTimestamp(exitedAt) }
  }

  async state(process: { execId?: string }, signal: AbortSignal): Promise<TaskState> {
    const found = await this.#quick(Task.method.state, { id: this.id, execId: process.execId ?? '' }, signal)
    const status = STATUSES[found.status] ?? 'unknown'
    return {
      pid: found.pid,
      status,
      bundle: found.bundle,
      stdin: found.stdin,
      stdout: found.stdout,
      stderr: found.stderr,
      terminal: found.terminal,
      exit:
        status === 'stopped' ? { exitCode: found.exitStatus, exitedAt: formatTimestamp(found.exitedAt) } : undefined,
    }
  }

  /** Forgets an ended process; for the task itself also removes the container and unmounts its rootfs. */
  async delete(process: { execId?: string }, signal: AbortSignal): Promise<TaskExit & { pid: number }> {
    const { pid, exitStatus, exitedAt } = await this.#call(
      Task.method.delete,
      { id: this.id, execId: process.execId ?? '' },
      signal,
    )
    return { pid, exitCode: exitStatus, exitedAt: formatTimestamp(exitedAt) }
  }

  async pids(signal: AbortSignal): Promise<{ pid: number; info: AnyMessage | undefined }[]> {
    const { processes } = await this.#short(Task.method.pids, { id: this.id }, signal)
    return processes.map(({ pid, info }) => ({ pid, info }))
  }

  async resizePty(request: { width: number; height: number; execId?: string }, signal: AbortSignal): Promise<void> {
    const { width, height, execId = '' } = request
    await this.#quick(Task.method.resizePty, { id: this.id, execId, width, height }, signal)
  }

  /** Ends the standard input of a process, once our own end of it is closed too. */
  async closeIO(process: { execId?: string }, signal: AbortSignal): Promise<void> {
    await this.#quick(Task.method.closeIO, { id: this.id, execId: process.execId ?? '', stdin: true }, signal)
  }

  async pause(signal: AbortSignal): Promise<void> {
    await this.#short(Task.method.pause, { id: this.id }, signal)
  }

  async resume(signal: AbortSignal): Promise<void> {
    await this.#short(Task.method.resume, { id: this.id }, signal)
  }

  /** @param request.resources `linux.resources` of the OCI runtime spec */
  async update(
    request: { resources: object; annotations?: Record<string, string> },
    signal: AbortSignal,
  ): Promise<void> {
    const resources = anyJson('types.containerd.io/opencontainers/runtime-spec/1/LinuxResources', request.resources)
    await this.#short(Task.method.update, { id: this.id, resources, annotations: request.annotations ?? {} }, signal)
  }

  /**
   * Writes the state of its processes to a directory.
   *
   * @param request.path of the images; it is there, and empty
   */
  async checkpoint(request: { path: string; options: CheckpointOptions }, signal: AbortSignal): Promise<void> {
    const options = anyCheckpointOptions(request.options)
    await this.#call(Task.method.checkpoint, { id: this.id, path: request.path, options }, signal)
  }

  async stats(signal: AbortSignal): Promise<TaskStats> {
    const { stats } = await this.#quick(Task.method.stats, { id: this.id }, signal)
    if (!stats) throw new PurserError('unimplemented', `the shim of task ${this.id} has no statistics`)
    return taskStats(stats)
  }

  /** The shim's own process; the task's is 0 while there is no task. */
  async connect(signal: AbortSignal): Promise<{ shimPid: number; taskPid: number; version: string }> {
    const { shimPid, taskPid, version } = await this.#quick(Task.method.connect, { id: this.id }, signal)
    return { shimPid, taskPid, version }
  }

  /** Ends a shim that has no task left, and waits until it is gone; one that has a task goes on. */
  async shutdown(signal: AbortSignal): Promise<void> {
    await this.#quick(Task.method.shutdown, { id: this.id }, signal).catch((error: unknown) => {
      // It may be gone before it has answered.
      if (!(error instanceof PurserError && error.code === 'unavailable')) throw error
    })
    await whileWanted(this.closed, AbortSignal.any([signal, AbortSignal.timeout(QUICK_MS)]))
  }

  /** Ends the connection; shim and task go on. */
  disconnect(): void {
    this.#client.close()
  }

  [Symbol.dispose](): void {
    this.disconnect()
  }

  /** As long as it takes, or as long as the options say. */
  async #within<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: CallOptions,
  ): Promise<MessageShape<O>> {
    try {
      return await this.#client.call(this.#service, method, request, options)
    } catch (thrown) {
      options.signal.throwIfAborted()
      throw readableTaskError(`task ${this.id}`, thrown)
    }
  }

  #call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    signal: AbortSignal,
  ): Promise<MessageShape<O>> {
    return this.#within(method, request, { signal, timeoutMs: this.#connection.callMs })
  }

  #short<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    signal: AbortSignal,
  ): Promise<MessageShape<O>> {
    return this.#within(method, request, { signal, timeoutMs: Math.min(SHORT_MS, this.#connection.callMs) })
  }

  #quick<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    signal: AbortSignal,
  ): Promise<MessageShape<O>> {
    return this.#within(method, request, { signal, timeoutMs: Math.min(QUICK_MS, this.#connection.callMs) })
  }
}
