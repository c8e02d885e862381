import { GrpcClient } from '../grpc/grpc-client.ts'
import type { Mount } from '../host/mounts.ts'
import { errorCodeOf, PurserError } from '../model/errors.ts'
import { type Info, Snapshots } from './gen/snapshots_pb.ts'
import type { LayerTarget, SnapshotKind, Snapshotter, Usage } from './snapshotter.ts'

export interface ProxyOptions {
  /** Path of the Unix socket that containerd's snapshots API is served at. */
  address: string
  /** What the server calls it. */
  snapshotter: string
  /** containerd's namespace of what is kept there. */
  namespace: string
}

/** A list of snapshots is there within this, or the server is not to be counted on. */
const ANSWER_MS = 5000

const ID = /^[0-9a-z]+$/
/** What is ours among whatever else the server keeps. */
const OURS = /^purser-([0-9a-z]+)(?:-committed|-look)?$/

/**
 * A snapshotter of another process, spoken to by containerd's snapshots API, as containerd's proxy plugins are. There a
 * committed snapshot has another name than it had while it was written to, and to look at it takes a view.
 */
export class ProxySnapshotter implements Snapshotter {
  readonly name: string
  readonly kind = 'proxy'
  readonly #remote: { snapshotter: string }
  readonly #client: GrpcClient

  constructor(name: string, { address, snapshotter, namespace }: ProxyOptions) {
    this.name = name
    this.#remote = { snapshotter }
    this.#client = new GrpcClient(address, { 'containerd-namespace': namespace })
  }

  async unavailable(signal: AbortSignal): Promise<string | undefined> {
    const patience = AbortSignal.timeout(ANSWER_MS)
    try {
      await this.list(AbortSignal.any([signal, patience]))
      return undefined
    } catch (error) {
      signal.throwIfAborted()
      if (patience.aborted) return `it does not answer within ${ANSWER_MS / 1000} seconds`
      if (error instanceof PurserError) return error.message
      throw error
    }
  }

  async create(id: string, kind: 'active' | 'view', [parent]: readonly string[], signal: AbortSignal): Promise<void> {
    const request = {
      ...this.#remote,
      key: activeKey(id),
      parent: parent === undefined ? '' : committedName(parent),
      // So that containerd does not collect what only we know of.
      labels: { 'containerd.io/gc.root': new Date().toISOString() },
    }
    if (kind === 'active') await this.#client.unary(Snapshots.method.prepare, request, signal)
    else await this.#client.unary(Snapshots.method.view, request, signal)
  }

  async mounts(id: string, kind: SnapshotKind, _parents: readonly string[], signal: AbortSignal): Promise<Mount[]> {
    const key = kind === 'committed' ? await this.#look(id, signal) : activeKey(id)
    const { mounts } = await this.#client.unary(Snapshots.method.mounts, { ...this.#remote, key }, signal)
    return mounts.map(({ type, source, options }) => ({ type, source, options }))
  }

  async commit(id: string, signal: AbortSignal): Promise<void> {
    const labels = { 'containerd.io/gc.root': new Date().toISOString() }
    const request = { ...this.#remote, name: committedName(id), key: activeKey(id), labels }
    try {
      await this.#client.unary(Snapshots.method.commit, request, signal)
    } catch (error) {
      const isDone = await this.#stat(committedName(id), signal)
      if (!isDone) throw error
    }
  }

  layerTarget(): LayerTarget {
    return { placement: 'on-parents' }
  }

  async remove(id: string, signal: AbortSignal): Promise<void> {
    for (const key of [lookKey(id), activeKey(id), committedName(id)]) {
      try {
        await this.#client.unary(Snapshots.method.remove, { ...this.#remote, key }, signal)
      } catch (error) {
        if (errorCodeOf(error) !== 'not_found') throw error
      }
    }
  }

  async usage(id: string, signal: AbortSignal): Promise<Usage> {
    const key = (await this.#stat(committedName(id), signal)) ? committedName(id) : activeKey(id)
    const { size, inodes } = await this.#client.unary(Snapshots.method.usage, { ...this.#remote, key }, signal)
    return { sizeBytes: Number(size), inodes: Number(inodes) }
  }

  async list(signal: AbortSignal): Promise<string[]> {
    const ids = new Set<string>()
    for await (const { info } of this.#client.stream(Snapshots.method.list, this.#remote, signal)) {
      for (const { name } of info) {
        const [, id] = OURS.exec(name) ?? []
        if (id !== undefined) ids.add(id)
      }
    }
    return [...ids]
  }

  /** The other process's affair: it has acknowledged the commit. */
  async sync(_id: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
  }

  /** A view of what is committed, which lasts as long as that. */
  async #look(id: string, signal: AbortSignal): Promise<string> {
    const labels = { 'containerd.io/gc.root': new Date().toISOString() }
    const request = { ...this.#remote, key: lookKey(id), parent: committedName(id), labels }
    try {
      await this.#client.unary(Snapshots.method.view, request, signal)
    } catch (error) {
      if (errorCodeOf(error) !== 'already_exists') throw error
    }
    return lookKey(id)
  }

  async #stat(key: string, signal: AbortSignal): Promise<Info | undefined> {
    try {
      return (await this.#client.unary(Snapshots.method.stat, { ...this.#remote, key }, signal)).info
    } catch (error) {
      if (errorCodeOf(error) === 'not_found') return undefined
      throw error
    }
  }
}

function activeKey(id: string): string {
  if (ID.test(id)) return `purser-${id}`
  throw new PurserError('invalid_argument', `${JSON.stringify(id)} is no name of a snapshot directory`)
}

const committedName = (id: string): string => `${activeKey(id)}-committed`
const lookKey = (id: string): string => `${activeKey(id)}-look`
