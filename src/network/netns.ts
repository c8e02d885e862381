import { closeSync, mkdirSync, openSync } from 'node:fs'
import { readdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { execa } from 'execa'
import { listMounts, unmount } from '../host/mounts.ts'
import { PurserError } from '../model/errors.ts'

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
const TOOL_MS = 10_000

const PACKAGES: Readonly<Record<string, string>> = { ip: 'iproute2', ip6tables: 'iptables' }

/** Runs a program of util-linux, iproute2 or iptables. @throws PurserError with what it says */
export async function runTool(program: string, args: readonly string[], signal: AbortSignal): Promise<void> {
  const { failed, stderr, shortMessage } = await execa(program, args, {
    env: { PATH },
    extendEnv: false,
    cwd: '/',
    timeout: TOOL_MS,
    cancelSignal: signal,
    reject: false,
  })
  signal.throwIfAborted()
  if (!failed) return
  throw new PurserError(
    'failed_precondition',
    `${program} ${args[0] ?? ''} failed: ${stderr.trim().slice(0, 300) || shortMessage}`,
    {
      remedy: `${program} is of the package ${PACKAGES[program] ?? 'util-linux'}`,
    },
  )
}

/** Makes a network namespace that lives on without a process, by a mount at this path; its loopback is up. */
export async function pinNamespace(path: string, signal: AbortSignal): Promise<void> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  closeSync(openSync(path, 'wx', 0o600))
  await runTool('unshare', [`--net=${path}`, '--', 'ip', 'link', 'set', 'lo', 'up'], signal)
}

/** @param netns path of a network namespace: a pinned one, or a process's */
export async function raiseLoopback(netns: string, signal: AbortSignal): Promise<void> {
  await runTool('nsenter', [`--net=${netns}`, '--', 'ip', 'link', 'set', 'lo', 'up'], signal)
}

/** Namespaces besides that of the network which live on without a process in the same way. */
export type SharedKind = 'ipc' | 'uts'

/** @param paths of the mounts; the directory is made here */
export async function pinShared(paths: ReadonlyMap<SharedKind, string>, signal: AbortSignal): Promise<void> {
  for (const path of paths.values()) {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    closeSync(openSync(path, 'wx', 0o600))
  }
  const flags = [...paths].map(([kind, path]) => `--${kind}=${path}`)
  if (flags.length > 0) await runTool('unshare', [...flags, '--', 'true'], signal)
}

/** An interface with addresses and nobody behind it: a pair of which both ends are here. @param addresses with their prefix */
export async function addStandIn(netns: string, name: string, addresses: readonly string[], signal: AbortSignal) {
  const inside = [`--net=${netns}`, '--', 'ip']
  await runTool('nsenter', [...inside, 'link', 'add', name, 'type', 'veth'], signal)
  for (const address of addresses) await runTool('nsenter', [...inside, 'address', 'add', address, 'dev', name], signal)
}

/** Lets go of it; what is in it goes with the last process. Fine when it is gone, or half of it. */
export async function unpinNamespace(path: string): Promise<void> {
  unmount(path)
  // Removing the file takes away what other mount namespaces have of the mount.
  await rm(path, { force: true })
}

export const isPinned = (path: string): boolean =>
  listMounts().some(({ target, type }) => target === path && type === 'nsfs')

/** What is pinned below a directory. */
export const pinnedIn = async (dir: string): Promise<string[]> =>
  (await readdir(dir).catch(() => [])).map((name) => join(dir, name))
