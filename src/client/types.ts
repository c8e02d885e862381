import type {
  CommandView,
  ContainerView,
  contentView,
  ImageView,
  JobView,
  NetworkView,
  namespaceView,
  PoolView,
  ProjectView,
  SandboxView,
  snapshotView,
  taskView,
} from '../projections/views.ts'
import type { CommandPayload, CommandType } from './commands.ts'

export type TaskView = ReturnType<typeof taskView>
export type SnapshotView = ReturnType<typeof snapshotView>
export type ContentView = ReturnType<typeof contentView>
export type NamespaceView = ReturnType<typeof namespaceView>
export type SucceededCommand = Extract<CommandView, { result: unknown }>

/** The lists there are, and what is in them. */
export interface Lists {
  commands: CommandView
  containers: ContainerView
  content: ContentView
  images: ImageView
  jobs: JobView
  namespaces: NamespaceView
  networks: NetworkView
  pools: PoolView
  projects: ProjectView
  sandboxes: SandboxView
  snapshots: SnapshotView
  tasks: TaskView
}

/** How a container's process ended. */
export interface Exit {
  exitCode: number
  /** RFC 3339, UTC. */
  exitedAt: string
  /** Why, when it was not the process's own exit: `oom`, `timeout`, … */
  reason?: string
  /** Of an exec's output, beyond its limit. */
  droppedBytes?: number
}

/** A task that was taken from a pool: the caller's until it is released. */
export interface Claimed {
  /** Id of its container. */
  id: string
  pool: string
  /** cold: none was ready, it was started for this claim. */
  start: 'warm' | 'cold'
  waitedMs: number
  /** Id of the claim. */
  command: string
}

/** An image in an archive that was sent. */
export interface ArchivedImage {
  /** What `image.import` takes. */
  entry: number
  format: 'oci' | 'docker'
  /** None where the archive gives none. */
  name?: string
  digest?: string
}

export interface ClientOptions {
  /** Path of the daemon's socket; /run/purser/purser.sock by default. */
  socketPath?: string
  namespace?: string
  /** W3C trace context that all requests are sent with, unless they have one of their own. */
  traceparent?: string
  /** Milliseconds that a daemon which went away is given to come back, before a wait fails. */
  reconnectMs?: number
}

export interface SubmitOptions<T extends CommandType> {
  /** What the command is for: a container's id, an image's name. Made up where the type allows it. */
  subject?: string | undefined
  payload?: CommandPayload<T>
  /** 1 is the most urgent, 100 the default. */
  priority?: number | undefined
  /** RFC 3339: the command is cancelled when it has not ended by then. */
  deadline?: string | undefined
  /** Asked again with the same key, nothing is done twice. A random one by default, for the client's own retries. */
  idempotencyKey?: string | undefined
  /** W3C trace context: the command, its events and spans belong to that trace. */
  traceparent?: string | undefined
  /** Credentials for a registry that the command may need; the daemon writes them nowhere. */
  registryAuth?: { username: string; password: string } | undefined
  signal?: AbortSignal | undefined
}

export interface EventsOptions {
  /** Events after it: a position, an RFC 3339 time or a duration (`15m`). The beginning by default; with follow, now. */
  since?: string | number | undefined
  /** Events up to it, written as `since` is; not with follow. */
  until?: string | number | undefined
  /** Whether to wait for events to come. */
  follow?: boolean
  /** Globs: `task.*`. */
  types?: readonly string[]
  /** Globs: `task/c1`. */
  subjects?: readonly string[]
  /** Globs: `unix:uid=1000,*`. */
  actors?: readonly string[]
  /** Ids of the commands that caused them. */
  commands?: readonly string[]
  /** Ids of the outermost commands of their chains. */
  correlations?: readonly string[]
  /** Trace ids. */
  traces?: readonly string[]
  /** Only this one's events; of all namespaces by default. */
  namespace?: string | undefined
  signal?: AbortSignal | undefined
}

export interface LogsOptions {
  /** Whether to go on until the process has ended. */
  follow?: boolean
  /** Of what is there, the last lines. */
  tail?: number | undefined
  /** An RFC 3339 time or a duration (`15m`). */
  since?: string | undefined
  /** Lines before it, written as `since` is. */
  until?: string | undefined
  signal?: AbortSignal | undefined
}
