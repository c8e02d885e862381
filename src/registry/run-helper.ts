import { ExecaError, execa } from 'execa'
import { PurserError } from '../model/errors.ts'

/** What a program that gives credentials is run with. */
export interface HelperRun {
  /** How the error names it: `the credential helper docker-credential-x`. */
  what: string
  program: string
  args: readonly string[]
  input: string
  env?: Readonly<Record<string, string>>
  timeoutMs: number
  /** What the user can do when it fails. */
  remedy: string
}

const OUTPUT_BYTES_MAX = 1 << 20

/**
 * Runs a program that prints credentials: nothing that it says goes into an error or a log.
 *
 * @returns its output, and whether it ended well
 * @throws PurserError failed_precondition when it cannot be run, takes too long or is killed
 */
export async function runHelper(run: HelperRun, signal: AbortSignal): Promise<{ stdout: string; exitCode: number }> {
  const { program, args, input, env = {}, timeoutMs } = run
  const late = AbortSignal.timeout(timeoutMs)
  const within = AbortSignal.any([signal, late])
  within.throwIfAborted()
  // A group of its own: what a script has started and leaves behind would keep its output open.
  const options = { input, env, stderr: 'ignore', maxBuffer: OUTPUT_BYTES_MAX, detached: true } as const
  const child = execa(program, args, options)
  const kill = () => killGroup(child.pid)
  within.addEventListener('abort', kill, { once: true })
  try {
    const { stdout } = await child
    return { stdout, exitCode: 0 }
  } catch (error) {
    signal.throwIfAborted()
    // Never as a cause: the error holds what the program printed.
    if (late.aborted) throw helperFailed(run, `did not answer within ${timeoutMs} ms`)
    if (!(error instanceof ExecaError)) throw helperFailed(run, 'could not be run')
    if (error.code === 'ENOENT') throw helperFailed(run, 'is not installed')
    if (error.code === 'EACCES') throw helperFailed(run, 'may not be run')
    if (error.isMaxBuffer) throw helperFailed(run, 'says more than anyone could want to know')
    if (error.exitCode === undefined) throw helperFailed(run, `was ended by ${error.signal ?? 'something'}`)
    return { stdout: String(error.stdout), exitCode: error.exitCode }
  } finally {
    within.removeEventListener('abort', kill)
  }
}

function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch {
    // All of it has ended.
  }
}

export function helperFailed({ what, remedy }: HelperRun, why: string): PurserError {
  return new PurserError('failed_precondition', `${what} ${why}`, { remedy })
}
