import { closeSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { Probe } from '../../../commands/pool.ts'
import { processesOf } from '../../../host/cgroups.ts'
import { errnoOf, O, openat2, RESOLVE } from '../../../host/syscalls.ts'
import { reach } from '../../../network/reach.ts'
import { readLog } from '../../../shim/log-reader.ts'
import type { LiveTask } from '../live-task.ts'
import { runInTask } from '../run-in-task.ts'
import { isWaitedOn } from './claim-files.ts'

export interface Probed {
  live: LiveTask
  /** Of its first process. */
  pid: number
  /** Path of its cgroup below the controllers' root. */
  cgroup: string
}

const POLL_MS = 5
const POLL_MS_MAX = 100
const AT_FDCWD = -100

/** Waits until a task is ready. @throws the signal's reason when it aborts first */
export async function untilReady(probe: Probe, { live, pid, cgroup }: Probed, signal: AbortSignal): Promise<void> {
  switch (probe.type) {
    case 'tcp':
      return await reach({ pid, port: probe.port }, signal)
    case 'http':
      return await reach({ pid, port: probe.port, path: probe.path }, signal)
    case 'log':
      return await untilLogged(live, probe.text, signal)
    case 'file':
      return await poll(() => hasFile(pid, probe.path), signal)
    case 'wait':
      return await poll(() => isWaitedOn(processesOf(cgroup)), signal)
    case 'exec': {
      let count = 0
      return await poll(async () => await exitsWell(live, `probe-${count++}`, probe.args, signal), signal)
    }
  }
}

async function poll(holds: () => boolean | Promise<boolean>, signal: AbortSignal): Promise<void> {
  for (let waitMs = POLL_MS; !(await holds()); waitMs = Math.min(waitMs * 1.5, POLL_MS_MAX))
    await delay(waitMs, undefined, { signal })
}

async function untilLogged({ log }: LiveTask, text: string, signal: AbortSignal): Promise<void> {
  const wanted = Buffer.from(text)
  for await (const { data } of readLog(log.path, { signal, follow: log })) if (data.includes(wanted)) return
  throw new Error('its output ended') // The harness' signal or the exit says why.
}

/** In the container's own view of its files; no link leads out of it. */
function hasFile(pid: number, path: string): boolean {
  let root: number | undefined
  try {
    root = openat2(AT_FDCWD, `/proc/${pid}/root`, O.DIRECTORY | O.PATH, 0)
    closeSync(openat2(root, path, O.PATH, RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS))
    return true
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === 'ENOENT' || errno === 'ENOTDIR' || errno === 'ELOOP' || errno === 'EACCES') return false
    throw error
  } finally {
    if (root !== undefined) closeSync(root)
  }
}

async function exitsWell(
  live: LiveTask,
  execId: string,
  args: readonly string[],
  signal: AbortSignal,
): Promise<boolean> {
  return (await runInTask(live, { execId, args }, signal)).exitCode === 0
}
