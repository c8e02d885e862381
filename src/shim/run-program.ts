import { spawn } from 'node:child_process'
import { PurserError } from '../model/errors.ts'

/** A shim's own answers are short; what a broken one writes must not fill our memory. */
const OUTPUT_BYTES_MAX = 256 * 1024

/** A shim puts descriptors of its own at 3 and up when it starts its child; ours keep clear of them. */
const INHERITED_FROM = 10

export interface ProgramResult {
  exitCode: number
  stdout: Buffer
  stderr: string
}

export interface ProgramCall {
  /** Absolute path: the search path is looked through before. */
  file: string
  args: readonly string[]
  cwd: string
  env: Readonly<Record<string, string>>
  stdin?: Uint8Array
  /** Descriptors that the program gets, numbered from {@link INHERITED_FROM}, and leaves to what it starts. */
  inheritFds?: readonly number[]
}

/**
 * Runs a program to its end, in a session of its own, so that no terminal signal reaches what it leaves running.
 * Node's own spawn: it is on the path of every start, where execa would cost a millisecond more.
 *
 * @throws the signal's reason when it aborts: the program is killed then
 */
export async function runProgram(call: ProgramCall, signal: AbortSignal): Promise<ProgramResult> {
  signal.throwIfAborted()
  const { file, args, cwd, env, stdin = new Uint8Array(), inheritFds = [] } = call
  return await new Promise<ProgramResult>((resolve, reject) => {
    const unused = new Array<'ignore'>(INHERITED_FROM - 3).fill('ignore') // From 3 on, that leaves a number unopened.
    const stdio = inheritFds.length === 0 ? [] : [...unused, ...inheritFds]
    const child = spawn(file, args, { cwd, env, detached: true, stdio: ['pipe', 'pipe', 'pipe', ...stdio] })
    const outputs: { stdout: Buffer[]; stderr: Buffer[] } = { stdout: [], stderr: [] }
    let bytes = 0
    const collect = (name: 'stdout' | 'stderr') => (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes <= OUTPUT_BYTES_MAX) outputs[name].push(chunk)
    }
    const onAbort = () => child.kill('SIGKILL')
    signal.addEventListener('abort', onAbort, { once: true })
    const settle = () => signal.removeEventListener('abort', onAbort)
    child.stdout?.on('data', collect('stdout'))
    child.stderr?.on('data', collect('stderr'))
    child.stdin?.on('error', () => {}) // A program that does not read its input is no failure.
    child.stdin?.end(stdin)
    child.on('error', (cause) => {
      settle()
      reject(new PurserError('failed_precondition', `${file} cannot be run: ${cause.message}`, { cause }))
    })
    child.on('close', (exitCode) => {
      settle()
      if (signal.aborted) reject(signal.reason)
      else
        resolve({
          exitCode: exitCode ?? 137,
          stdout: Buffer.concat(outputs.stdout),
          stderr: Buffer.concat(outputs.stderr).toString('utf8').trim(),
        })
    })
  })
}
