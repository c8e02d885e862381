import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { CGROUP_ROOT } from './cgroups.ts'

/**
 * How many processes of a cgroup the kernel has ended for want of memory; 0 for one that is gone.
 *
 * @param path below each controller's root
 * @see cgroup-v1/memory, "memory.oom_control", and cgroup-v2, "memory.events", in the kernel's documentation
 */
export function oomKillsOf(path: string): number {
  for (const file of [
    join(CGROUP_ROOT, 'memory', path, 'memory.oom_control'),
    join(CGROUP_ROOT, path, 'memory.events'),
  ]) {
    try {
      return Number(/^oom_kill (\d+)$/m.exec(readFileSync(file, 'utf8'))?.[1] ?? 0)
    } catch {
      // Of the other version, or gone.
    }
  }
  return 0
}
