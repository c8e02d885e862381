import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

export interface ProcessInfo {
  pid: number
  ppid: number
  /** Effective, as the host has it. */
  uid: number
  user: string
  /** A letter: R, S, D, T, Z … */
  state: string
  /** `pts/0`, or `?` for none. */
  tty: string
  cpuMs: number
  /** Of one CPU, since it began. */
  cpuPercent: number
  /** RFC 3339, UTC. */
  startedAt: string
  virtualBytes: number
  residentBytes: number
  command: string
  args: string
}

/**
 * What is known of processes; those that have ended are left out. In a thread of its own, for a process can make whoever
 * reads its command line wait.
 */
export async function readProcesses(pids: readonly number[], signal: AbortSignal): Promise<ProcessInfo[]> {
  signal.throwIfAborted()
  const thread = new Worker(new URL('./processes-thread.ts', import.meta.url), {
    workerData: pids,
    env: {},
    execArgv: [],
  })
  try {
    const [processes] = await once(thread, 'message', { signal })
    return processes
  } catch (error) {
    signal.throwIfAborted()
    throw error
  } finally {
    void thread.terminate() // Not waited for: it may hang in the kernel.
    thread.unref()
  }
}
