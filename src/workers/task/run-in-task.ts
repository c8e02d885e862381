import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { buildExecProcess } from '../../oci/spec/exec-process.ts'
import type { Spec } from '../../oci/spec/schema.ts'
import { ProcessStdio } from '../../shim/stdio.ts'
import type { LiveTask } from './live-task.ts'
import { usersIn } from './rootfs.ts'

export interface RunInTask {
  /** None other of the task's execs has it. */
  execId: string
  args: readonly string[]
  /** Of what it writes so much is kept, the end of it; nothing without a bound. */
  outputBytesMax?: number
}

/** What it writes in its last moments is waited for no longer than that. */
const OUTPUT_END_MS = 200

/**
 * Runs a program in a task without a word of it in the log, and without input.
 *
 * @throws the signal's reason when it aborts first; the program is killed then
 */
export async function runInTask(
  live: LiveTask,
  { execId, args, outputBytesMax = 0 }: RunInTask,
  signal: AbortSignal,
): Promise<{ exitCode: number; output: string }> {
  const { shim, bundle } = live
  const spec: Spec = JSON.parse(await readFile(join(bundle, 'config.json'), 'utf8'))
  const request = { args: [...args], env: [], tty: false }
  const process = buildExecProcess(spec, request, await usersIn(live, signal))
  await using written = await keepOutput(join(bundle, `stdio-${execId}`), outputBytesMax)
  await shim.exec({ execId, process, ...(written.io === undefined ? {} : { io: written.io }) }, signal)
  try {
    await shim.start({ execId }, signal)
    const { exitCode } = await shim.wait({ execId }, signal)
    await Promise.race([written.ended, delay(OUTPUT_END_MS, undefined, { ref: false })])
    return { exitCode, output: written.text() }
  } finally {
    await endExec(live, execId)
  }
}

/** Ends what may be left of a program that a daemon before this one ran. */
export async function endExec({ shim }: LiveTask, execId: string): Promise<void> {
  await shim.kill({ signal: 9, execId }, AbortSignal.timeout(1000)).catch(() => {}) // Ended, as it should have.
  await shim.delete({ execId }, AbortSignal.timeout(1000)).catch(() => {})
}

async function keepOutput(dir: string, bytesMax: number) {
  if (bytesMax === 0) {
    return { io: undefined, ended: Promise.resolve(), text: () => '', [Symbol.asyncDispose]: async () => {} }
  }
  const stdio = await ProcessStdio.create(dir, { stdin: 'none', output: 'pipes' })
  let kept = Buffer.alloc(0)
  const { stdout, stderr } = stdio.read()
  const keep = (from: Readable): Promise<void> =>
    new Promise((resolve) => {
      from.on('data', (chunk: Buffer) => {
        kept = Buffer.concat([kept, chunk]).subarray(-bytesMax)
      })
      from.on('error', () => from.destroy()).on('close', () => resolve())
    })
  const ended = Promise.all([stdout, ...(stderr ? [stderr] : [])].map(keep))
  return {
    io: stdio.io,
    ended,
    text: () => kept.toString('utf8'),
    [Symbol.asyncDispose]: () => stdio.remove(),
  }
}
