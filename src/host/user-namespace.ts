import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, constants, openSync, readlinkSync, writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

/** So many ids of a container, from one on, are those of the host from another one on. */
export interface IdRange {
  containerId: number
  hostId: number
  size: number
}

export interface IdMap {
  uids: readonly IdRange[]
  gids: readonly IdRange[]
}

export interface UserNamespace extends Disposable {
  readonly fd: number
}

const LOOK_MS = 2

/**
 * A user namespace with the given map, with nobody in it: what id-mapped mounts take their map from. A process of several
 * threads cannot make one, so a child does, and ends.
 *
 * @see user_namespaces(7)
 */
export async function openUserNamespace({ uids, gids }: IdMap, signal: AbortSignal): Promise<UserNamespace> {
  const child = execFile('unshare', ['--user', 'sleep', 'infinity'], { signal })
  child.on('error', () => {}) // Seen below: it never gets a namespace of its own, or the signal has aborted.
  const ended = once(child, 'close')
  try {
    await once(child, 'spawn', { signal })
    const dir = `/proc/${child.pid}`
    const own = readlinkSync('/proc/self/ns/user')
    while (readlinkSync(`${dir}/ns/user`) === own) await delay(LOOK_MS, undefined, { signal })
    writeFileSync(`${dir}/uid_map`, linesOf(uids))
    writeFileSync(`${dir}/gid_map`, linesOf(gids))
    const fd = openSync(`${dir}/ns/user`, constants.O_RDONLY)
    return { fd, [Symbol.dispose]: () => closeSync(fd) }
  } finally {
    child.kill('SIGKILL')
    await ended.catch(() => {})
  }
}

const linesOf = (ranges: readonly IdRange[]): string =>
  ranges.map(({ containerId, hostId, size }) => `${containerId} ${hostId} ${size}\n`).join('')
