import type { Archive } from '../archive/archive.ts'
import type { Verifier } from '../archive/note.ts'
import type { EventLog } from '../log/event-log.ts'
import type { StateCheck } from '../log/rebuild.ts'
import type { Sealer } from '../log/sealer.ts'
import type { StateSnapshots } from '../log/state-snapshots.ts'
import type { ContainerUsage } from '../model/container-usage.ts'
import type { FileStatus } from '../model/file-status.ts'
import type { JobTurn } from '../model/job-turn.ts'
import type { ProcessInfo } from '../model/process-info.ts'
import type { Projections } from '../projections/index.ts'
import type { Progress } from '../projections/progress.ts'
import type { Slis } from '../projections/sli/slis.ts'
import type { Changes } from '../queue/changes.ts'
import type { Intake } from '../queue/intake.ts'
import type { Outcomes } from '../queue/outcomes.ts'
import type { SealingKey } from '../secrets/sealing-key.ts'

export type OutputStream = 'stdout' | 'stderr'

export interface Exit {
  exitCode: number
  /** RFC 3339, UTC. */
  exitedAt: string
  reason?: string
  /** Of an exec's output, beyond its limit. */
  droppedBytes?: number
}

export interface OutputPart {
  stream: OutputStream
  /** Empty where only a position is told. */
  chunk: Uint8Array
  /** Where what comes next begins, when there is a log. */
  position?: string
}

/** A connection to the standard streams of a running process. */
export interface Attachment extends AsyncDisposable {
  /** Ends when the process has ended and all its output was read. */
  readonly output: AsyncIterable<OutputPart>
  /** Resolves when the process takes more. @throws PurserError failed_precondition when it has no standard input */
  writeStdin(chunk: Uint8Array): Promise<void>
  closeStdin(): Promise<void>
  /** Characters. */
  resize(width: number, height: number): Promise<void>
}

/** Of output that came before: all that is kept, none of it, or what is behind a position that was told. */
export type Replay = 'all' | 'none' | { from: string }

/** The data plane: bytes of containers, which pass neither queue nor log. */
export interface Streams {
  /** @throws PurserError not_found when the container has no task (or no such exec) */
  attach(
    namespace: string,
    id: string,
    options: { execId?: string; replay: Replay },
    signal: AbortSignal,
  ): Promise<Attachment>
  /** The container's log in CRI format; undefined when it has none yet. With follow, ends when the task has exited. */
  logs(
    namespace: string,
    id: string,
    options: { follow: boolean; tailLines?: number; since?: Date; until?: Date },
    signal: AbortSignal,
  ): AsyncIterable<Uint8Array>
}

/** What containers do and use. */
export interface Activity {
  /** @throws PurserError not_found, failed_precondition when it does not run */
  processes(namespace: string, id: string, signal: AbortSignal): Promise<ProcessInfo[]>
  /** @throws PurserError not_found, failed_precondition when it does not run; unimplemented where its shim tells nothing */
  usage(
    namespace: string,
    id: string,
    signal: AbortSignal,
  ): Promise<ContainerUsage & { metrics: { type: string; data: unknown } }>
  usageOfAll(namespace: string, signal: AbortSignal): Promise<({ id: string } & ContainerUsage)[]>
  /** Oldest first. */
  recentUsage(namespace: string, id: string, sinceMs: number): ContainerUsage[]
}

/** Files of containers, running or not; a path leads nowhere outside. */
export interface Files {
  /** @param last whether a symlink at the end is followed, or meant itself @throws PurserError not_found */
  status(
    namespace: string,
    id: string,
    path: string,
    last: 'follow' | 'itself',
    signal: AbortSignal,
  ): Promise<FileStatus>
  /** As a tar. @throws PurserError not_found, before the first byte */
  read(
    namespace: string,
    id: string,
    path: string,
    last: 'follow' | 'itself',
    signal: AbortSignal,
  ): AsyncIterable<Uint8Array>
}

/** What jobs leave behind: logs and artifacts. */
export interface JobFiles {
  /** The log of a step in CRI format; with follow until it has ended. */
  logs(
    namespace: string,
    id: string,
    options: { attempt: number; step: number; follow: boolean },
    signal: AbortSignal,
  ): AsyncIterable<Uint8Array>
  /** @throws PurserError not_found */
  artifact(
    namespace: string,
    id: string,
    path: string,
    signal: AbortSignal,
  ): Promise<{ sizeBytes: number; digest: string; bytes: AsyncIterable<Uint8Array> }>
}

/** Jobs that wait. */
export interface JobTurns {
  turnOf(namespace: string, id: string): JobTurn | undefined
}

/** An image in an archive that was sent. */
export interface ArchivedImage {
  entry: number
  format: 'oci' | 'docker'
  name?: string
  digest?: string
}

/** Archives of images on their way in and out. */
export interface Archives {
  /** @throws PurserError failed_precondition when there are not `offset` bytes already */
  append(
    id: string,
    offset: number,
    body: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<{ sizeBytes: number }>
  /** @throws PurserError not_found */
  sizeOf(id: string): Promise<number>
  remove(id: string): Promise<void>
  images(id: string, baseName: string | undefined, signal: AbortSignal): Promise<ArchivedImage[]>
  /** @throws PurserError not_found, before the first byte, when no command has announced it */
  export(namespace: string, commandId: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>
}

/** What takes room on disk. */
export interface Snapshots {
  /** Every snapshotter there is, and whether it can be used. */
  snapshotters(
    signal: AbortSignal,
  ): Promise<{ name: string; kind: string; status: 'ok' | 'unavailable'; reason?: string; snapshots: number }[]>
  /** Of a snapshot, and with its parents. @throws PurserError not_found */
  usage(
    namespace: string,
    id: string,
    signal: AbortSignal,
  ): Promise<{ sizeBytes: number; inodes: number; totalBytes: number; totalInodes: number }>
  /** Of an image's unpacked layers; what other images have as well is told apart. @throws PurserError not_found */
  imageUsage(
    namespace: string,
    name: string,
    signal: AbortSignal,
  ): Promise<{
    snapshotter?: string
    sizeBytes: number
    sharedBytes: number
    uniqueBytes: number
    inodes: number
    layers: { chainId: string; sizeBytes: number; inodes: number; images: number }[]
  }>
}

/** Checkpoints on their way out. */
export interface Checkpoints {
  /** The archive of one, signed. @throws PurserError not_found, failed_precondition, before the first byte */
  read(namespace: string, id: string, name: string, signal: AbortSignal): AsyncIterable<Uint8Array>
}

export interface Referrers {
  subject: string
  source: 'api' | 'tag'
  isComplete: boolean
  referrers: {
    mediaType: string
    artifactType?: string
    digest: string
    sizeBytes: number
    annotations: Record<string, string>
  }[]
}

/** What images are made of. */
export interface ImageDetailsReader {
  /** @throws PurserError not_found */
  of(namespace: string, name: string): Promise<object>
  /** @throws PurserError not_found */
  diff(namespace: string, one: string, other: string, signal: AbortSignal): Promise<object>
}

/** What containers are run with. */
export interface RuntimesReader {
  list(): Promise<object[]>
  /** @throws PurserError invalid_argument for what is no runtime, or as its shim fails */
  check(name: string, signal: AbortSignal): Promise<object>
}

/** Asks the shims of sandboxes. */
export interface SandboxesReader {
  /** @throws PurserError not_found for none, failed_precondition for one without a shim, or as that does not answer */
  ask(namespace: string, id: string, signal: AbortSignal): Promise<object>
}

/** Compares what the log says of tasks with their shims and the host. */
export interface Doctor {
  /** @param namespace all without one */
  diagnose(namespace: string | undefined, signal: AbortSignal): Promise<object[]>
}

/** The sealed part of the log. */
export interface Books {
  archive: Archive
  sealer: Sealer
  snapshots: StateSnapshots
  verifier: Verifier
}

/** What a surface may use: requests go in through intake, views come out of documents and log. */
export interface Services {
  node: string
  version: string
  log: EventLog
  books: Books
  intake: Intake
  outcomes: Outcomes
  progress: Progress
  projections: Projections
  slis: Slis
  runtimes: RuntimesReader
  sandboxes: SandboxesReader
  doctor: Doctor
  snapshots: Snapshots
  streams: Streams
  files: Files
  checkpoints: Checkpoints
  activity: Activity
  jobs: JobFiles
  jobTurns: JobTurns
  changes: Changes
  sealing: SealingKey
  archives: Archives
  /** What refers to an image at its registry. @throws PurserError as a pull does */
  referrers(image: string, artifactType: string | undefined, signal: AbortSignal): Promise<Referrers>
  imageDetails: ImageDetailsReader
  /** Metrics as text. */
  metrics(format: 'prometheus' | 'openmetrics'): Promise<string>
  /** Reasons why the daemon is not ready; empty when it is. */
  notReady(): Promise<string[]>
  info(): Promise<Record<string, unknown>>
  rebuild(mode: 'check' | 'repair'): Promise<StateCheck>
}
