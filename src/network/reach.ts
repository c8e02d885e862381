import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { ReachRequest } from './reach-thread.ts'

/**
 * Waits until a port is served inside a network namespace, by a thread that enters it.
 *
 * @throws the signal's reason when it aborts first; the thread's error when the namespace cannot be entered
 */
export async function reach(request: Omit<ReachRequest, 'onceMs'>, signal: AbortSignal): Promise<void> {
  await ask(request, signal)
}

/**
 * Looks once whether a port is served inside a network namespace.
 *
 * @returns undefined when it is, or else why not
 * @throws as {@link reach}
 */
export async function refusalOf(
  request: ReachRequest & { onceMs: number },
  signal: AbortSignal,
): Promise<string | undefined> {
  return await ask(request, signal)
}

async function ask(request: ReachRequest, signal: AbortSignal): Promise<string | undefined> {
  signal.throwIfAborted()
  const thread = new Worker(new URL('./reach-thread.ts', import.meta.url), {
    workerData: request,
    env: {},
    execArgv: [],
    stdout: true,
    stderr: true,
  })
  try {
    const [refusal] = await once(thread, 'message', { signal })
    return typeof refusal === 'string' ? refusal : undefined
  } catch (error) {
    signal.throwIfAborted()
    throw error
  } finally {
    await thread.terminate()
  }
}
