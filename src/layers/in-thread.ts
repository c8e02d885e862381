import { Worker, type WorkerOptions } from 'node:worker_threads'
import { type ErrorBody, PurserError } from '../model/errors.ts'

/** What a thread with one job says when it is done. */
export type FromThread<Result> = { result: Result } | { error: ErrorBody }

export interface ThreadWork {
  /** Given to the thread as its `workerData`. */
  job: object
  limits?: WorkerOptions['resourceLimits']
  /** What is said when it ends without an answer. */
  died: (cause: unknown) => PurserError
}

/**
 * Has one job done in a thread of its own.
 *
 * @throws PurserError what the thread answers, or `died`; the signal's reason
 */
export async function inThread<Result>(file: URL, work: ThreadWork, signal: AbortSignal): Promise<Result> {
  signal.throwIfAborted()
  const { job, limits, died } = work
  const { promise, resolve, reject } = Promise.withResolvers<FromThread<Result>>()
  const thread = new Worker(file, { workerData: job, ...(limits === undefined ? {} : { resourceLimits: limits }) })
  const onAbort = () => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  const onEnd = (cause: unknown) => reject(died(cause))
  thread.on('message', resolve).on('error', onEnd).on('exit', onEnd)
  try {
    const answer = await promise
    if ('result' in answer) return answer.result
    throw PurserError.fromBody(answer.error)
  } finally {
    signal.removeEventListener('abort', onAbort)
    await thread.terminate()
  }
}
