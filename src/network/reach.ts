import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { ReachRequest } from './reach-thread.ts'

/**
 * Waits until a port is served inside a network namespace, by a thread that enters it.
 *
 * @throws the signal's reason when it aborts first; the thread's error when the namespace cannot be entered
 */
export async function reach(request: ReachRequest, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  const thread = new Worker(new URL('./reach-thread.ts', import.meta.url), {
    workerData: request,
    env: {},
    execArgv: [],
    stdout: true,
    stderr: true,
  })
  try {
    await once(thread, 'message', { signal })
  } catch (error) {
    signal.throwIfAborted()
    throw error
  } finally {
    await thread.terminate()
  }
}
