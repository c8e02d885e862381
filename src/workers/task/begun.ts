import { existsSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Shim } from '../../shim/shim.ts'

/**
 * What tells, after a daemon was killed in the middle of a start, whether the process has begun. The shim cannot be asked:
 * with our connection it cancels the start, kills the runtime that carries it out, and takes the process for not begun,
 * which it may be or not.
 */

/** The program and name of a process: those of the runtime until it begins. Undefined when it runs no more. */
function programOf(pid: number): string | undefined {
  try {
    return `${readlinkSync(`/proc/${pid}/exe`)}\n${readFileSync(`/proc/${pid}/comm`, 'utf8')}`
  } catch {
    return undefined
  }
}

const noteOf = (bundle: string): string => join(bundle, 'init-program')

/** Notes what a created task's first process looks like before it is started. */
export function noteCreated(bundle: string, pid: number): void {
  const program = programOf(pid)
  if (program !== undefined) writeFileSync(noteOf(bundle), program, { mode: 0o600 })
}

/** Whether the first process of a created task has become the container's own program since. */
export async function hasBegun(bundle: string, pid: number): Promise<boolean> {
  const created = await readFile(noteOf(bundle), 'utf8').catch(() => undefined)
  return created !== undefined && created !== programOf(pid)
}

const markOf = (execDir: string): string => join(execDir, 'starting')

/** Notes that an exec is about to be started. */
export const markStarting = (execDir: string): void => writeFileSync(markOf(execDir), '', { mode: 0o600 })

/** Whether an exec that the shim has not seen begin may have begun. */
export const mayHaveBegun = (execDir: string): boolean => existsSync(markOf(execDir))

/** The pid of an exec that its runtime has begun, of which the shim keeps a file. */
export function begunExec(bundle: string, execId: string): number | undefined {
  const path = join(bundle, `${execId}.pid`)
  const pid = existsSync(path) ? Number(readFileSync(path, 'utf8')) : 0
  return Number.isSafeInteger(pid) && pid > 0 ? pid : undefined
}

/**
 * Kills processes that the shim has started in its container and knows nothing of: execs whose start was cancelled.
 *
 * @param known pids of those that are known
 * @returns pids of those that were killed: they had begun, for what the runtime has not let go of ends with it
 */
export async function killStrays(shim: Shim, known: ReadonlySet<number>, signal: AbortSignal): Promise<number[]> {
  const { shimPid } = await shim.connect(signal)
  const killed: number[] = []
  for (const { pid } of await shim.pids(signal)) {
    if (known.has(pid) || (await parentOf(pid)) !== shimPid) continue
    try {
      process.kill(pid, 'SIGKILL')
      killed.push(pid)
    } catch {
      // It has ended.
    }
  }
  return killed
}

/** @see proc(5), /proc/pid/stat: the name may hold anything, and ends at the last parenthesis */
async function parentOf(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] ?? 0)
}
