import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { CGROUP_ROOT } from './cgroups.ts'

const POLL_MS = 1

/** The files of a cgroup's freezer: what is written to it, and where it says how far it is. */
interface Freezer {
  file: string
  frozen: string
  thawed: string
  isFrozen(): boolean
}

/** @see cgroup-v1/freezer-subsystem and cgroup-v2, "cgroup.freeze", in the kernel's documentation */
function freezerOf(cgroup: string): Freezer | undefined {
  const state = join(CGROUP_ROOT, 'freezer', cgroup, 'freezer.state')
  if (existsSync(state)) {
    return {
      file: state,
      frozen: 'FROZEN',
      thawed: 'THAWED',
      isFrozen: () => readFileSync(state, 'utf8').trim() === 'FROZEN',
    }
  }
  const dir = join(CGROUP_ROOT, cgroup)
  const file = join(dir, 'cgroup.freeze')
  if (!existsSync(file)) return undefined
  return {
    file,
    frozen: '1',
    thawed: '0',
    isFrozen: () => /^frozen 1$/m.test(readFileSync(join(dir, 'cgroup.events'), 'utf8')),
  }
}

/**
 * Stops all processes of a cgroup; returns when none of them runs. A runtime that is asked for it does the same, in a
 * process of its own.
 *
 * @param cgroup path below the controllers' root
 * @returns false when the cgroup has no freezer
 */
export async function freeze(cgroup: string, signal: AbortSignal): Promise<boolean> {
  const freezer = freezerOf(cgroup)
  if (freezer === undefined) return false
  writeFileSync(freezer.file, freezer.frozen)
  try {
    while (!freezer.isFrozen()) {
      await delay(POLL_MS, undefined, { signal })
      writeFileSync(freezer.file, freezer.frozen) // v1 has to be told again while a process forks.
    }
  } catch (error) {
    thaw(cgroup)
    throw error
  }
  return true
}

/** Lets them go on. @returns false when there is no such cgroup, or it has no freezer */
export function thaw(cgroup: string): boolean {
  const freezer = freezerOf(cgroup)
  if (freezer === undefined) return false
  writeFileSync(freezer.file, freezer.thawed)
  return true
}

/** Whether none of its processes runs; false also for one that is gone. */
export const isFrozen = (cgroup: string): boolean => freezerOf(cgroup)?.isFrozen() ?? false

/** Has the kernel take back what memory it can from a cgroup. Without effect where it offers no such thing. */
export async function reclaimMemory(cgroup: string): Promise<void> {
  const v1 = join(CGROUP_ROOT, 'memory', cgroup, 'memory.force_empty')
  const v2 = join(CGROUP_ROOT, cgroup)
  try {
    if (existsSync(v1)) await writeFile(v1, '0')
    else await writeFile(join(v2, 'memory.reclaim'), await readFile(join(v2, 'memory.current')))
  } catch {
    // EBUSY, EAGAIN: it has taken back what it could. ENOENT: it offers no such thing.
  }
}
