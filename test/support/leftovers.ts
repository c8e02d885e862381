import { writeFileSync } from 'node:fs'
import { readdir, readFile, readlink, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { unmount } from '../../src/host/mounts.ts'
import { TaskPaths } from '../../src/workers/task/paths.ts'

/** What a daemon with these directories has on the host besides files. */
export interface Leftovers {
  /** Innermost first. */
  mounts: string[]
  /** Shims, Redis, the daemon, and whatever runs in a container. */
  processes: { pid: number; what: string }[]
  /** Innermost first. */
  cgroups: string[]
}

export async function findLeftovers(dir: string, state: string): Promise<Leftovers> {
  const cgroups = await findCgroups(state)
  return { mounts: await findMounts(dir), processes: await findProcesses(dir, cgroups), cgroups }
}

/** One line for each, for a message. */
export const listLeftovers = ({ mounts, processes, cgroups }: Leftovers): string[] => [
  ...mounts.map((at) => `mount ${at}`),
  ...processes.map(({ pid, what }) => `process ${pid} ${what}`),
  ...cgroups.map((at) => `cgroup ${at}`),
]

/** Kills, unmounts and removes until nothing is found. @returns what could not be removed */
export async function removeLeftovers(dir: string, state: string): Promise<string[]> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const found = await findLeftovers(dir, state)
    if (listLeftovers(found).length === 0) return []
    for (const at of found.cgroups) tryTo(() => writeFileSync(`${at}/freezer.state`, 'THAWED')) // Frozen, none can be killed.
    for (const { pid } of found.processes) tryTo(() => process.kill(pid, 'SIGKILL'))
    for (const at of found.mounts) tryTo(() => unmount(at))
    for (const at of found.cgroups) await rmdir(at).catch(() => {}) // busy until its processes are gone
    await delay(20)
  }
  return listLeftovers(await findLeftovers(dir, state))
}

function tryTo(call: () => void): void {
  try {
    call()
  } catch {
    // Tried again, and reported when it is still there at the end.
  }
}

async function findMounts(dir: string): Promise<string[]> {
  const table = await readFile('/proc/self/mounts', 'utf8')
  return table
    .split('\n')
    .map((line) =>
      (line.split(' ')[1] ?? '').replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8))),
    )
    .filter((at) => at === dir || at.startsWith(`${dir}/`))
    .reverse()
}

async function findCgroups(state: string): Promise<string[]> {
  const top = new TaskPaths('/', state).cgroupParents('default').at(-1) ?? ''
  const roots = ['/sys/fs/cgroup', ...(await subdirectories('/sys/fs/cgroup'))]
  const found: string[] = []
  for (const root of roots) await walk(join(root, top), found)
  return found
}

async function walk(dir: string, found: string[]): Promise<void> {
  const entries = await readdir(dir, { withFileTypes: true }).catch(() => undefined)
  if (entries === undefined) return
  for (const entry of entries) if (entry.isDirectory()) await walk(join(dir, entry.name), found)
  found.push(dir)
}

const subdirectories = async (dir: string): Promise<string[]> =>
  (await readdir(dir, { withFileTypes: true }).catch(() => []))
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(dir, entry.name))

async function findProcesses(dir: string, cgroups: readonly string[]): Promise<Leftovers['processes']> {
  const inside = new Set<number>()
  for (const cgroup of cgroups) {
    const pids = await readFile(join(cgroup, 'cgroup.procs'), 'utf8').catch(() => '')
    for (const pid of pids.split('\n')) if (pid !== '') inside.add(Number(pid))
  }
  const found: Leftovers['processes'] = []
  for (const name of await readdir('/proc')) {
    const pid = Number(name)
    if (!Number.isInteger(pid) || pid === process.pid) continue
    const command = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).replaceAll('\0', ' ').trim()
    if (command === '') continue // gone, a zombie, or of the kernel
    const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => '')
    if (inside.has(pid) || command.includes(`${dir}/`) || cwd === dir || cwd.startsWith(`${dir}/`)) {
      found.push({ pid, what: command.slice(0, 200) })
    }
  }
  return found
}
