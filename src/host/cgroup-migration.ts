import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CGROUP_ROOT, cgroupVersion } from './cgroups.ts'

let isUnderWay = false

/**
 * Tells the kernel that a process is about to be moved into a cgroup. The first move after a while waits until every CPU has
 * passed a quiescent state, 8 ms and more, and those that follow within 15 do not: so this process is moved to where it is
 * already, which is no move, while a runtime is still on its way to the real one. Where cgroups were mounted with `favordynmods`
 * neither waits.
 *
 * @see Linux, kernel/cgroup/cgroup.c, "cgroup_threadgroup_rwsem"; Documentation/admin-guide/cgroup-v2.rst, "favordynmods"
 */
export function expectMigration(): void {
  if (isUnderWay) return
  isUnderWay = true
  moveInPlace()
    .catch(() => {}) // A runtime that has to wait does.
    .finally(() => {
      isUnderWay = false
    })
}

const moveInPlace = async (): Promise<void> => writeFile(ownProcessList(), String(process.pid))

/** Read anew each time: someone may have moved us. @see cgroups(7), "/proc/[pid]/cgroup" */
function ownProcessList(): string {
  const [hierarchy, line] = cgroupVersion() === 2 ? ['', /^0::(.*)$/m] : ['freezer', /^\d+:freezer:(.*)$/m]
  const [, path = '/'] = line.exec(readFileSync('/proc/self/cgroup', 'utf8')) ?? []
  return join(CGROUP_ROOT, hierarchy, path, 'cgroup.procs')
}
