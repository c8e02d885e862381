import { setPriority } from 'node:os'
import { parentPort } from 'node:worker_threads'
import { CLONE, umask, unshare } from '../host/syscalls.ts'
import { toPurserError } from '../model/errors.ts'
import { extractLayer } from './extract-layer.ts'
import type { FromWorker, ToWorker } from './protocol.ts'

// A file mode mask of this thread's own, so that files get the modes their layer states.
unshare(CLONE.FS)
umask(0)

// Whoever asks the daemon something is answered first: as many of these threads as there are cores are busy for as long as a
// pull takes. Of this thread only: setpriority(2), "C library/kernel differences".
const NICE = 10
setPriority(NICE)

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
