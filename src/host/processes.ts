import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { ProcessInfo } from '../model/process-info.ts'

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
