import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import type { IdMap, IdRange } from '../../host/user-namespace.ts'
import { PurserError } from '../../model/errors.ts'
import type { ContainerOptions } from '../../oci/spec/container-options.ts'
import { usernsMode } from '../../oci/spec/user-namespace-options.ts'
import type { TaskPaths } from './paths.ts'

/** Ids of the host that are given to user namespaces, each range to one at a time. */
export interface IdRangesConfig {
  /** Of the first range. */
  first: number
  /** Ids in each. */
  size: number
  /** How many there are. */
  count: number
}

/**
 * Ranges of ids for tasks with a user namespace of their own. On disk, files have the container's own ids, so that a task has
 * its range for as long as it is there; its bundle says which one that is, also to the next daemon.
 */
export class IdRanges {
  readonly #config: IdRangesConfig
  readonly #paths: TaskPaths
  /** Bundle of the task that has it, by its first id. */
  readonly #held = new Map<number, string>()
  #known: Promise<void> | undefined

  constructor(config: IdRangesConfig, paths: TaskPaths) {
    this.#config = config
    this.#paths = paths
  }

  /** The map of a task that is being created; undefined where it has the host's ids. */
  async mapFor(namespace: string, id: string, options: ContainerOptions): Promise<IdMap | undefined> {
    const mode = usernsMode(options.userns)
    if (mode === undefined || mode.kind === 'host') return undefined
    if (mode.kind === 'mapped') return mapOf(mode.hostUid, mode.hostGid, mode.size)
    this.#known ??= this.#readBundles()
    await this.#known
    const hostId = this.#take(this.#paths.bundle(namespace, id))
    return mapOf(hostId, hostId, this.#config.size)
  }

  #take(bundle: string): number {
    const { first, size, count } = this.#config
    for (let index = 0; index < count; index += 1) {
      const hostId = first + index * size
      const holder = this.#held.get(hostId)
      if (holder !== undefined && holder !== bundle && existsSync(holder)) continue
      this.#held.set(hostId, bundle)
      return hostId
    }
    throw new PurserError('resource_exhausted', `all ${count} ranges of ids for user namespaces are in use`, {
      remedy: 'raise [userns] count in the configuration, or remove containers',
    })
  }

  async #readBundles(): Promise<void> {
    for (const { bundle } of await this.#paths.bundles()) {
      const hostId = await firstIdOf(join(bundle, 'config.json'))
      if (hostId !== undefined && !this.#held.has(hostId)) this.#held.set(hostId, bundle)
    }
  }
}

const mapped = z.object({ linux: z.object({ uidMappings: z.array(z.object({ hostID: z.number() })).optional() }) })

/** From a specification that is whole: no task was made of another. */
async function firstIdOf(file: string): Promise<number | undefined> {
  try {
    return mapped.parse(JSON.parse(await readFile(file, 'utf8'))).linux.uidMappings?.[0]?.hostID
  } catch {
    return undefined
  }
}

/** Whom the host takes a user of the namespace for. */
export function ownerIn({ uids, gids }: IdMap, { uid, gid }: { uid: number; gid: number }) {
  const onHost = (ranges: readonly IdRange[], id: number): number => {
    const range = ranges.find(({ containerId, size }) => id >= containerId && id < containerId + size)
    return range === undefined ? id : range.hostId + id - range.containerId
  }
  return { uid: onHost(uids, uid), gid: onHost(gids, gid) }
}

/** A map with one range, as the log has it. */
export const told = ({ uids, gids }: IdMap) => ({
  hostUid: uids[0]?.hostId ?? 0,
  hostGid: gids[0]?.hostId ?? 0,
  size: uids[0]?.size ?? 0,
})

function mapOf(hostUid: number, hostGid: number, size: number): IdMap {
  const range = (hostId: number): IdRange[] => [{ containerId: 0, hostId, size }]
  return { uids: range(hostUid), gids: range(hostGid) }
}
