import { type Dirent, existsSync } from 'node:fs'
import { readdir, readFile, rmdir } from 'node:fs/promises'
import { isAbsolute, join, normalize } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'
import { listMounts } from '../host/mounts.ts'
import { errnoOf } from '../host/syscalls.ts'

const configOfBundle = z.object({ linux: z.object({ cgroupsPath: z.string().optional() }).optional() })

/** How often a cgroup is tried whose processes were killed but are still leaving. */
const ATTEMPTS_MAX = 50
const LEAVING_POLL_MS = 5

/**
 * Ends what is still in a bundle's cgroup, and removes it from every hierarchy. A runtime that was killed while it
 * created a container leaves its cgroup, and perhaps a process there, without a record that its `delete` could follow.
 */
export async function removeCgroup(bundle: string, signal: AbortSignal): Promise<void> {
  const cgroupsPath = await cgroupsPathOf(bundle)
  // Only an absolute path says by itself where the cgroup is; systemd's own form has systemd clean up.
  if (cgroupsPath === undefined || !isAbsolute(cgroupsPath) || normalize(cgroupsPath) === '/') return
  const hierarchies = listMounts().filter(({ type, root }) => (type === 'cgroup' || type === 'cgroup2') && root === '/')
  const remains = hierarchies.map(({ target }) => join(target, normalize(cgroupsPath))).filter((dir) => existsSync(dir))
  for (const dir of remains) await removeTree(dir, signal)
}

async function cgroupsPathOf(bundle: string): Promise<string | undefined> {
  try {
    const config: unknown = JSON.parse(await readFile(join(bundle, 'config.json'), 'utf8'))
    return configOfBundle.safeParse(config).data?.linux?.cgroupsPath
  } catch (error) {
    // Without a whole config.json nothing was created from it.
    if (errnoOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined
    throw error
  }
}

/** Deepest first: a cgroup goes only when it has no children; the files in it are the kernel's and go with it. */
async function removeTree(dir: string, signal: AbortSignal): Promise<void> {
  let entries: Dirent[]
  try {
    entries = await readdir(dir, { withFileTypes: true })
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return
    throw error
  }
  for (const entry of entries) if (entry.isDirectory()) await removeTree(join(dir, entry.name), signal)
  for (let attempt = 1; ; attempt += 1) {
    try {
      await rmdir(dir)
      return
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return
      if (errnoOf(error) !== 'EBUSY' || attempt === ATTEMPTS_MAX) throw error
    }
    await killProcesses(dir)
    await delay(LEAVING_POLL_MS, undefined, { signal })
  }
}

async function killProcesses(dir: string): Promise<void> {
  const pids = await readFile(join(dir, 'cgroup.procs'), 'utf8').catch(() => '')
  for (const line of pids.split('\n')) {
    const pid = Number(line)
    if (pid <= 1) continue // No line, or a process that this pid namespace does not see.
    try {
      process.kill(pid, 'SIGKILL')
    } catch (error) {
      if (errnoOf(error) !== 'ESRCH') throw error
    }
  }
}
