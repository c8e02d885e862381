import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { errnoOf } from '../host/syscalls.ts'
import { ensureFifo } from './fifo.ts'
import { stdioDir } from './stdio.ts'

/**
 * FIFOs of tasks that the shim of a sandbox is to have: it inherits the reading ends when it starts, before it is known which
 * tasks these are. What they write while no daemon is there stays in the pipe, as it does with a shim of their own.
 */
const PAIRS = 8

const NAMES = ['stdout', 'stderr']
const READ_BYTES = 64 * 1024

/** Those that no task has. */
const freeIn = (sandboxBundle: string): string => join(sandboxBundle, 'streams')

/** Says in a task's bundle where its streams come from. */
const originFile = (bundle: string): string => join(bundle, 'streams-from')

/** @returns descriptors of the reading ends, for the shim to inherit; the caller closes them */
export function makeHeldStreams(sandboxBundle: string): number[] {
  const fds: number[] = []
  try {
    for (let pair = 0; pair < PAIRS; pair += 1) {
      const dir = join(freeIn(sandboxBundle), String(pair))
      mkdirSync(dir, { recursive: true, mode: 0o700 })
      for (const name of NAMES) {
        ensureFifo(join(dir, name))
        fds.push(openSync(join(dir, name), constants.O_RDONLY | constants.O_NONBLOCK))
      }
    }
    return fds
  } catch (error) {
    for (const fd of fds) closeSync(fd)
    throw error
  }
}

/** Gives a task FIFOs that the shim holds, where one is free; without, its own are made as for any other. */
export function takeHeldStreams(sandboxBundle: string, bundle: string): void {
  for (const name of readdirSync(freeIn(sandboxBundle))) {
    const dir = join(freeIn(sandboxBundle), name)
    try {
      writeFileSync(originFile(bundle), dir)
      renameSync(dir, stdioDir(bundle))
      for (const each of NAMES) drain(join(stdioDir(bundle), each))
      return
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error // Else another task was faster.
    }
  }
  rmSync(originFile(bundle), { force: true })
}

/** What the task before has left in it is not this one's. */
function drain(path: string): void {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  const buffer = Buffer.alloc(READ_BYTES)
  try {
    while (readSync(fd, buffer, 0, READ_BYTES, null) > 0);
  } catch (error) {
    if (errnoOf(error) !== 'EAGAIN') throw error
  } finally {
    closeSync(fd)
  }
}

/** For the next task of the sandbox, where that is there still; fine for a task that has none of them. */
export function giveBackStreams(bundle: string): void {
  try {
    const dir = readFileSync(originFile(bundle), 'utf8')
    // What is its own goes: its input, and what of its output waits for the log.
    for (const name of readdirSync(stdioDir(bundle)))
      if (!NAMES.includes(name)) rmSync(join(stdioDir(bundle), name), { force: true })
    renameSync(stdioDir(bundle), dir)
  } catch (error) {
    const errno = errnoOf(error)
    // The sandbox is gone, or was made anew, with others in their place.
    if (errno !== 'ENOENT' && errno !== 'ENOTEMPTY' && errno !== 'EEXIST') throw error
  }
}
