import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CGROUP_ROOT } from './cgroups.ts'
import { freeze } from './freezer.ts'
import { errnoOf } from './syscalls.ts'

/** How long it is waited for that none forks any more. */
const FREEZE_MS = 500

/** Where a cgroup can be, in the order in which they are asked for its processes. */
const HIERARCHIES = ['freezer', 'pids', '.', 'unified']

/**
 * Sends SIGKILL to all processes of a cgroup and of those beneath it. In version 2 the kernel does so at once. In version 1 they
 * are frozen first, so that none forks away, and then thawed, for a frozen process does not die.
 *
 * @param path below each controller's root
 * @returns false when there is no such cgroup
 */
export async function killCgroup(path: string, signal: AbortSignal): Promise<boolean> {
  for (const hierarchy of ['.', 'unified']) {
    const file = join(CGROUP_ROOT, hierarchy, path, 'cgroup.kill')
    if (existsSync(file)) writeFileSync(file, '1')
  }
  if (!HIERARCHIES.some((hierarchy) => existsSync(join(CGROUP_ROOT, hierarchy, path)))) return false
  const within = AbortSignal.any([signal, AbortSignal.timeout(FREEZE_MS)])
  await freeze(path, within).catch(() => {}) // One that cannot be frozen is killed all the same.
  for (const pid of pidsOf(path)) kill(pid)
  for (const dir of treeOf(join(CGROUP_ROOT, 'freezer', path))) write(join(dir, 'freezer.state'), 'THAWED')
  for (const dir of treeOf(join(CGROUP_ROOT, path))) write(join(dir, 'cgroup.freeze'), '0')
  return true
}

/** Processes of a cgroup and of those beneath it, in whichever hierarchy has it. */
export function pidsOf(path: string): number[] {
  const pids = new Set<number>()
  for (const hierarchy of HIERARCHIES)
    for (const dir of treeOf(join(CGROUP_ROOT, hierarchy, path)))
      for (const line of procsOf(dir)) if (Number(line) > 1) pids.add(Number(line)) // 0: one that is not seen from here.
  return [...pids]
}

function procsOf(dir: string): string[] {
  try {
    return readFileSync(join(dir, 'cgroup.procs'), 'utf8').split('\n')
  } catch {
    return [] // It has just gone.
  }
}

/** A cgroup and those beneath it; none when it is not there. */
function treeOf(dir: string): string[] {
  try {
    const entries = readdirSync(dir, { withFileTypes: true })
    return [dir, ...entries.flatMap((entry) => (entry.isDirectory() ? treeOf(join(dir, entry.name)) : []))]
  } catch {
    return []
  }
}

/** What is not there needs no thawing. */
function write(file: string, text: string): void {
  if (!existsSync(file)) return
  try {
    writeFileSync(file, text)
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'ENODEV') throw error
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error
  }
}
