import { existsSync, readFileSync } from 'node:fs'
import { rmdir } from 'node:fs/promises'
import { join } from 'node:path'

export const CGROUP_ROOT = '/sys/fs/cgroup'
const CONTROLLERS = [
  'blkio',
  'cpu',
  'cpuacct',
  'cpuset',
  'devices',
  'freezer',
  'hugetlb',
  'memory',
  'net_cls',
  'net_prio',
  'perf_event',
  'pids',
  'systemd',
  'unified',
  '.',
]

/** 2 where all controllers are in the unified hierarchy; 1 also for the hybrid layout. @see cgroups(7) */
export const cgroupVersion = (): 1 | 2 => (existsSync(join(CGROUP_ROOT, 'cgroup.controllers')) ? 2 : 1)

/** Whether cgroups can limit by a controller: it is mounted, or delegated from the root of version 2. */
export function hasController(name: string): boolean {
  if (cgroupVersion() === 1) return existsSync(join(CGROUP_ROOT, name))
  return readFileSync(join(CGROUP_ROOT, 'cgroup.controllers'), 'utf8').trim().split(' ').includes(name)
}

/**
 * Removes cgroups that have become empty, in whatever hierarchies there are; the others stay.
 *
 * @param paths below each controller's root, innermost first
 */
export async function removeCgroups(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    await Promise.all(CONTROLLERS.map((controller) => rmdir(join(CGROUP_ROOT, controller, path)).catch(() => {})))
  }
}

/** Processes in a cgroup, in whichever hierarchy has it. @param path below each controller's root */
export function processesOf(path: string): number[] {
  for (const controller of ['freezer', 'pids', 'unified', '.']) {
    const file = join(CGROUP_ROOT, controller, path, 'cgroup.procs')
    if (existsSync(file)) return readFileSync(file, 'utf8').split('\n').filter(Boolean).map(Number)
  }
  return []
}
