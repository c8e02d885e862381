import { closeSync } from 'node:fs'
import { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { collectChild, makePipe, spawnProgram } from '../host/spawn.ts'
import { errnoOf } from '../host/syscalls.ts'
import { PurserError } from '../model/errors.ts'

/** A shim's own answers are short; what a broken one writes must not fill our memory. */
const OUTPUT_BYTES_MAX = 256 * 1024

/** A shim puts descriptors of its own at 3 and up when it starts its child; ours keep clear of them. */
const INHERITED_FROM = 10

/** A program that has closed its output is about to end. */
const ENDED_POLL_MS_MIN = 1
const ENDED_POLL_MS_MAX = 50

export interface ProgramResult {
  /** 128 and the signal's number where one ended it. */
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
 *
 * @throws PurserError failed_precondition when it cannot be run
 * @throws the signal's reason when it aborts: the program is killed then
 */
export async function runProgram(call: ProgramCall, signal: AbortSignal): Promise<ProgramResult> {
  signal.throwIfAborted()
  const { stdin = new Uint8Array(), inheritFds = [] } = call
  const [input, output, errors] = [makePipe(), makePipe(), makePipe()]
  const inherited = inheritFds.map((fd, index): [number, number] => [INHERITED_FROM + index, fd])
  const descriptors = new Map([[0, input.read], [1, output.write], [2, errors.write], ...inherited])
  let pid: number
  try {
    pid = spawnProgram({ ...call, descriptors })
  } catch (cause) {
    for (const fd of [input.write, output.read, errors.read]) closeSync(fd)
    throw new PurserError('failed_precondition', `${call.file} cannot be run: ${errnoOf(cause)}`, { cause })
  } finally {
    for (const fd of [input.read, output.write, errors.write]) closeSync(fd)
  }
  const onAbort = () => process.kill(pid, 'SIGKILL') // It is ours until it is collected.
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    const writing = new Socket({ fd: input.write, readable: false, writable: true })
    writing.on('error', () => {}) // A program that does not read its input is no failure.
    writing.end(stdin)
    const [stdout, stderr] = await Promise.all([contentsOf(output.read), contentsOf(errors.read)])
    const exitCode = await ended(pid)
    signal.throwIfAborted()
    return { exitCode, stdout, stderr: stderr.toString('utf8').trim() }
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/** What is written to a pipe until nobody has its other end any more, as far as it is kept. */
async function contentsOf(fd: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of new Socket({ fd, readable: true, writable: false }) as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes <= OUTPUT_BYTES_MAX) chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

async function ended(pid: number): Promise<number> {
  for (let pauseMs = ENDED_POLL_MS_MIN; ; pauseMs = Math.min(2 * pauseMs, ENDED_POLL_MS_MAX)) {
    const exitCode = collectChild(pid)
    if (exitCode !== undefined) return exitCode
    await delay(pauseMs)
  }
}
