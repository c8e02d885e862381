import { closeSync } from 'node:fs'
import { type ContainerState, containers } from '../../commands/container.ts'
import { parentDirs, snapshot, snapshotId } from '../../commands/snapshot.ts'
import { type TaskState, tasks as taskKind } from '../../commands/task.ts'
import { type ByteString, byteString } from '../../host/byte-paths.ts'
import { type Mount, mountTemporarily } from '../../host/mounts.ts'
import { openRoot } from '../../host/open-in-root.ts'
import { errnoOf } from '../../host/syscalls.ts'
import type { View } from '../../model/aggregate.ts'
import { PurserError } from '../../model/errors.ts'
import { usernsMode } from '../../oci/spec/user-namespace-options.ts'
import type { Shims } from '../../shim/shims.ts'
import type { Snapshotter } from '../../snapshotters/snapshotter.ts'
import { rootfsMounts } from './rootfs.ts'
import type { Tasks } from './tasks.ts'

/** The root directory of a container, open. */
export interface ContainerRoot {
  /** O_PATH. */
  fd: number
  /** Directories on which something is mounted only while the container runs. */
  covered: readonly ByteString[]
  /** Closes it. Synchronous, and never fails: it may be called long after. */
  release(): void
}

export interface ContainerRootsOptions {
  view: View
  tasks: Tasks
  shims: Shims
  snapshotters: ReadonlyMap<string, Snapshotter>
  /** For mounts that last for a moment. */
  runDir: string
}

type PresentContainer = Exclude<ContainerState, { status: 'absent' }>

/**
 * Root directories of containers as their processes see them, volumes included; of those that do not run, their snapshots
 * without volumes.
 */
export class ContainerRoots {
  readonly #options: ContainerRootsOptions

  constructor(options: ContainerRootsOptions) {
    this.#options = options
  }

  /** @throws PurserError not_found, failed_precondition, unavailable */
  async open(namespace: string, id: string, use: 'read' | 'write', signal: AbortSignal): Promise<ContainerRoot> {
    const { view } = this.#options
    const made = view.get(containers, namespace, id)
    const state: TaskState = view.get(taskKind, namespace, id)
    if (made.status === 'absent') {
      throw new PurserError('not_found', `container ${id} is not in namespace ${namespace}`, { remedy: 'purser ps -a' })
    }
    if ('execs' in state) return await this.#ofProcess(namespace, id, made, signal)
    const isGoing = state.status === 'creating' || (state.status === 'stopped' && state.host === 'held')
    if (isGoing && use === 'write') {
      throw new PurserError('unavailable', `container ${id} is just being started or taken down`, {
        remedy: 'try again shortly',
      })
    }
    return await this.#ofSnapshot(namespace, id, made, use, signal)
  }

  async #ofProcess(
    namespace: string,
    id: string,
    { runtime, options }: PresentContainer,
    signal: AbortSignal,
  ): Promise<ContainerRoot> {
    const { tasks, shims } = this.#options
    if (!shims.runsOnTheHost(runtime)) {
      throw new PurserError('unimplemented', `files of a running container of runtime ${runtime} cannot be reached`, {
        remedy: 'stop it first, or copy through a volume or purser exec',
      })
    }
    if (usernsMode(options.userns)?.kind !== 'host') {
      throw new PurserError(
        'unimplemented',
        `files of container ${id} have the ids of its user namespace while it runs`,
        {
          remedy: 'stop it first, or copy through purser exec',
        },
      )
    }
    const { shim } = tasks.require(namespace, id)
    const { pid } = await shim.state({}, signal)
    let fd: number
    try {
      fd = openRoot(`/proc/${pid}/root`)
    } catch (cause) {
      if (errnoOf(cause) !== 'ENOENT' && errnoOf(cause) !== 'ESRCH') throw cause
      throw ended(id, cause)
    }
    try {
      // Only now is it known that the number was still that of its process.
      const now = await shim.state({}, signal)
      if (now.pid === pid && now.status !== 'stopped') return { fd, covered: [], release: () => closeSync(fd) }
      throw ended(id)
    } catch (error) {
      closeSync(fd)
      throw error
    }
  }

  async #ofSnapshot(
    namespace: string,
    id: string,
    made: PresentContainer,
    use: 'read' | 'write',
    signal: AbortSignal,
  ): Promise<ContainerRoot> {
    if (use === 'write' && made.options.readOnlyRoot) {
      throw new PurserError('failed_precondition', `the root of container ${id} is read-only`, {
        remedy: 'copy into a volume of it, while it runs',
      })
    }
    const { view, snapshotters, runDir } = this.#options
    const mounts =
      use === 'write'
        ? await rootfsMounts(view, snapshotters, namespace, made, signal)
        : await readingMounts(view, snapshotters, namespace, made, signal)
    const mounted = await mountTemporarily(mounts, runDir, signal)
    const fd = openRoot(mounted.path)
    return {
      fd,
      covered: made.options.mounts.map(({ target }) => byteString(target.replace(/\/+$/, ''))),
      release: () => {
        closeSync(fd)
        mounted[Symbol.asyncDispose]().then(undefined, () => {}) // Busy for somebody else: gone lazily.
      },
    }
  }
}

/** As a layer on its parents, without a directory to write to: such a mount disturbs no other of the same snapshot. */
async function readingMounts(
  view: View,
  snapshotters: ReadonlyMap<string, Snapshotter>,
  namespace: string,
  made: PresentContainer,
  signal: AbortSignal,
): Promise<Mount[]> {
  const state = view.get(snapshot, namespace, snapshotId(made.snapshotter, made.snapshotKey))
  const snapshotter = snapshotters.get(made.snapshotter)
  if (!snapshotter || state.status !== 'active' || snapshotter.kind === 'proxy') {
    return await rootfsMounts(view, snapshotters, namespace, made, signal)
  }
  const parents = parentDirs(view, namespace, made.snapshotter, state.parent)
  return await snapshotter.mounts(state.dir, 'committed', parents, signal)
}

const ended = (id: string, cause?: unknown): PurserError =>
  new PurserError('aborted', `container ${id} has just ended`, { cause, remedy: 'try again' })
