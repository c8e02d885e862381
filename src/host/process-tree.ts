import { closeSync, readFileSync } from 'node:fs'
import { errnoOf, pidfdOpen, pidfdSendSignal } from './syscalls.ts'

const SIGKILL = 9
const SIGSTOP = 19
/** How often it is looked for processes that were started meanwhile. */
const LOOKS_MAX = 8

/** @see proc_pid_stat(5): the name before them may hold anything, and ends at the last parenthesis */
function parentAndSession(pid: number): { parent: number; session: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return { parent: Number(fields[1]), session: Number(fields[3]) }
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') return undefined
    throw error
  }
}

/**
 * Sends a signal to a process and to what it has started: what descends from it, or is of the session that it leads. What took
 * care to be neither is not found. Those that SIGKILL is for are stopped first, so that none is started behind our back.
 *
 * @param list all processes among which they are; asked again, for there may be more
 */
export async function signalTree(root: number, list: () => Promise<readonly number[]>, signal: number): Promise<void> {
  using held = new ProcessHandles()
  for (let look = 1; ; look++) {
    const found = membersOf(root, await list(), held)
    for (const pid of found) held.open(pid)
    if (signal !== SIGKILL || found.length === 0 || look === LOOKS_MAX) break
    held.signal(SIGSTOP)
  }
  held.signal(signal)
}

/** Those that are not held yet. */
function membersOf(root: number, pids: readonly number[], held: ProcessHandles): number[] {
  const members = new Set([root, ...held.pids()])
  const others = new Map(pids.flatMap((pid) => [[pid, parentAndSession(pid)] as const]))
  for (let before = 0; before < members.size; ) {
    before = members.size
    for (const [pid, of] of others) if (of && (members.has(of.parent) || of.session === root)) members.add(pid)
  }
  return [...members].filter((pid) => !held.has(pid) && others.get(pid) !== undefined)
}

/** Descriptors of processes: they stay theirs, whoever gets their numbers later. */
class ProcessHandles implements Disposable {
  readonly #fds = new Map<number, number>()

  has(pid: number): boolean {
    return this.#fds.has(pid)
  }

  pids(): Iterable<number> {
    return this.#fds.keys()
  }

  open(pid: number): void {
    try {
      this.#fds.set(pid, pidfdOpen(pid))
    } catch (error) {
      if (errnoOf(error) !== 'ESRCH') throw error
    }
  }

  signal(signal: number): void {
    for (const fd of this.#fds.values()) {
      try {
        pidfdSendSignal(fd, signal)
      } catch (error) {
        if (errnoOf(error) !== 'ESRCH') throw error
      }
    }
  }

  [Symbol.dispose](): void {
    for (const fd of this.#fds.values()) closeSync(fd)
  }
}
