import { parentPort } from 'node:worker_threads'
import { CLONE, umask, unshare } from '../host/syscalls.ts'
import { toPurserError } from '../model/errors.ts'
import { extractLayer } from './extract-layer.ts'
import type { FromWorker, ToWorker } from './protocol.ts'

// A file mode mask of this thread's own, so that files get the modes their layer states.
unshare(CLONE.FS)
umask(0)

parentPort?.on('message', ({ job }: ToWorker) => {
  parentPort?.postMessage(run(job))
})

function run(job: ToWorker['job']): FromWorker {
  try {
    return { result: extractLayer(job) }
  } catch (error) {
    return { error: toPurserError(error).toBody(), cause: error instanceof Error ? (error.stack ?? '') : '' }
  }
}
