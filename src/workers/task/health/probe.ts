import { errorCodeOf } from '../../../model/errors.ts'
import { refusalOf } from '../../../network/reach.ts'
import type { HealthProbe } from '../../../oci/health-check.ts'
import type { LiveTask } from '../live-task.ts'
import { runInTask } from '../run-in-task.ts'

/** One at a time in a task; no exec that a client names can be in its way. */
export const HEALTH_EXEC = 'purser.health'

/** Of what a probe has written, for the event. */
const OUTPUT_BYTES_MAX = 1024

/** How long a network probe's thread may take to begin and to tell. */
const THREAD_MS = 2000

export interface Probed {
  isWell: boolean
  /** What it ended with, and what it has written. */
  detail: string
}

/** Probes a task once. @throws the signal's reason when it aborts first */
export async function probeOnce(
  probe: HealthProbe,
  { live, pid }: { live: LiveTask; pid: number },
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Probed> {
  const within = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)])
  try {
    if (probe.type !== 'exec') {
      const { port } = probe
      const request = { pid, port, onceMs: timeoutMs, ...(probe.type === 'http' ? { path: probe.path } : {}) }
      const given = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs + THREAD_MS)])
      const refusal = await refusalOf(request, given)
      return { isWell: refusal === undefined, detail: refusal ?? 'served' }
    }
    const { exitCode, output } = await runInTask(
      live,
      { execId: HEALTH_EXEC, args: probe.args, outputBytesMax: OUTPUT_BYTES_MAX },
      within,
    )
    const said = output.trim()
    return { isWell: exitCode === 0, detail: `exit code ${exitCode}${said === '' ? '' : `: ${said}`}` }
  } catch (error) {
    signal.throwIfAborted()
    if (within.aborted) return { isWell: false, detail: `no end within ${timeoutMs} ms` }
    const reason = error instanceof Error ? error.message : String(error)
    return { isWell: false, detail: `${errorCodeOf(error) ?? 'error'}: ${reason}` }
  }
}
