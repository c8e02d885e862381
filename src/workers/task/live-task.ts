import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { ExecProcess } from '../../commands/task-execs.ts'
import { unmount } from '../../host/mounts.ts'
import { errnoOf } from '../../host/syscalls.ts'
import type { Forwarder } from '../../shim/forward/forwarder.ts'
import { giveBackStreams } from '../../shim/held-streams.ts'
import type { LogFile } from '../../shim/log-file.ts'
import { DirectOutput, type OutputHub } from '../../shim/output-hub.ts'
import type { Shim } from '../../shim/shim.ts'
import type { ProcessStdio, StdioShape } from '../../shim/stdio.ts'

/** A running process's streams as this daemon holds them. */
export interface LiveProcess {
  stdio: ProcessStdio
  output: OutputHub
}

export interface LiveExec extends LiveProcess {
  output: DirectOutput
}

/** @param process `discard`: read and dropped, for a process that nobody listens to must not wait */
export function liveExec(
  stdio: ProcessStdio,
  { output: use, outputBytesMax }: Pick<ExecProcess, 'output' | 'outputBytesMax'>,
): LiveExec {
  const output = new DirectOutput(stdio.read(), outputBytesMax)
  if (use === 'discard') void drain(output)
  return { stdio, output }
}

async function drain(output: DirectOutput): Promise<void> {
  for await (const _ of output.subscribe({ replay: 'none', signal: new AbortController().signal })) {
    // Dropped.
  }
}

export const shapeOfExec = (process: Pick<ExecProcess, 'stdin' | 'tty'>): StdioShape => ({
  stdin: process.stdin ? 'open' : 'none',
  output: process.tty ? 'terminal' : 'pipes',
})

/** A task as this daemon holds it: the connection to its shim and its streams. What it is, the log says. */
export interface LiveTask extends LiveProcess {
  namespace: string
  id: string
  bundle: string
  runtime: string
  /** Whether its root file system is mounted where only its shim sees it. */
  isApart: boolean
  shim: Shim
  /** Whether others are in that shim too: those of its sandbox. */
  isGrouped: boolean
  log: LogFile
  /** Sends the log on, where its driver says so. */
  forwarder: Forwarder | undefined
  execs: Map<string, LiveExec>
}

/** Ends the input of a process: our end, and the one that the shim holds. */
export async function endInput(live: LiveTask, process: LiveProcess, execId: string | undefined, signal: AbortSignal) {
  const stdin = process.stdio.openStdin()
  if (!stdin.writableEnded) await new Promise<void>((resolve) => stdin.end(resolve))
  await live.shim.closeIO(execId === undefined ? {} : { execId }, signal)
}

/** Lets go of everything without touching the task: for a daemon that stops. */
export async function detach(live: LiveTask): Promise<void> {
  for (const process of [live, ...live.execs.values()]) {
    await process.output.detach()
    process.stdio.close()
  }
  live.forwarder?.stop()
  await live.forwarder?.ended
  live.shim.disconnect()
}

/** Where the daemon mounts something for a task, besides its root file system. */
export const mountPoint = (bundle: string, name: string): string => join(bundle, 'mounts', name)

/**
 * Takes away what was mounted for a task, and its files, but for streams that are its sandbox's. At once: the thread pool takes
 * ten times as long for these few.
 */
export function removeBundle(bundle: string): void {
  giveBackStreams(bundle)
  for (const name of mountedIn(bundle)) unmount(mountPoint(bundle, name))
  rmSync(bundle, { recursive: true, force: true })
}

function mountedIn(bundle: string): string[] {
  try {
    return readdirSync(join(bundle, 'mounts'))
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return []
    throw error
  }
}
