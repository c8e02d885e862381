import { closeSync, constants, openSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { errnoOf, setPipeBytes } from '../host/syscalls.ts'
import { PurserError } from '../model/errors.ts'
import { ensureFifo } from './fifo.ts'
import { MarkFile } from './log-mark.ts'
import type { OutputSources, SpooledSources } from './output-hub.ts'
import type { TaskIo } from './shim.ts'
import { Spool } from './spool.ts'

/** Where the FIFOs of a task's first process are, or those of an exec. */
export const stdioDir = (bundle: string, execId?: string): string =>
  join(bundle, execId === undefined ? 'stdio' : `stdio-${execId}`)

export interface StdioShape {
  stdin: 'open' | 'none'
  /** A terminal has one stream for both. */
  output: 'pipes' | 'terminal'
}

/**
 * The FIFOs between us and one process. They outlive us: a later daemon attaches to them again.
 *
 * They are read when the event loop's poll tells, not by the thread pool, where four FIFOs without a writer would stop every
 * file operation of the daemon.
 */
export class ProcessStdio {
  readonly io: TaskIo
  readonly #dir: string
  readonly #stdoutFd: number
  readonly #stderrFd: number | undefined
  /** Closes what reads, and the descriptors with it. */
  #stopReading: () => void
  #stdin: Socket | undefined

  private constructor(dir: string, shape: StdioShape) {
    const terminal = shape.output === 'terminal'
    this.#dir = dir
    this.io = {
      stdin: shape.stdin === 'open' ? join(dir, 'stdin') : '',
      stdout: join(dir, 'stdout'),
      stderr: terminal ? '' : join(dir, 'stderr'),
      terminal,
    }
    this.#stdoutFd = openReader(this.io.stdout)
    try {
      this.#stderrFd = terminal ? undefined : openReader(this.io.stderr)
    } catch (error) {
      closeSync(this.#stdoutFd)
      throw error
    }
    this.#stopReading = () => {
      for (const fd of this.readFds) closeSync(fd)
    }
  }

  /**
   * Descriptors of the reading ends, one on a terminal, for the shim to hold: while one is open, nothing that was written is
   * lost.
   */
  get readFds(): readonly number[] {
    return this.#stderrFd === undefined ? [this.#stdoutFd] : [this.#stdoutFd, this.#stderrFd]
  }

  /**
   * Makes and opens the FIFOs of a process that does not exist yet.
   *
   * @param dir made here (0700), the process's own, removed by {@link remove}
   */
  static async create(dir: string, shape: StdioShape): Promise<ProcessStdio> {
    await mkdir(dir, { recursive: true, mode: 0o700 })
    if (shape.stdin === 'open') ensureFifo(join(dir, 'stdin'))
    ensureFifo(join(dir, 'stdout'))
    if (shape.output === 'pipes') ensureFifo(join(dir, 'stderr'))
    return new ProcessStdio(dir, shape)
  }

  /**
   * Opens the FIFOs of a process that an earlier daemon has created, running or ended.
   *
   * @throws PurserError not_found when they are not there any more
   */
  static attach(dir: string, shape: StdioShape): ProcessStdio {
    try {
      const stdio = new ProcessStdio(dir, shape)
      // The kernel tells a reader of the end only when a writer leaves after it came. So that the end of a process that
      // has left before is seen, come as a writer, and leave.
      closeSync(openSync(stdio.io.stdout, constants.O_WRONLY | constants.O_NONBLOCK))
      if (stdio.io.stderr !== '') closeSync(openSync(stdio.io.stderr, constants.O_WRONLY | constants.O_NONBLOCK))
      return stdio
    } catch (cause) {
      if (errnoOf(cause) !== 'ENOENT') throw cause
      throw new PurserError('not_found', `the streams of the process are gone from ${dir}`, { cause })
    }
  }

  /**
   * Begins to read, until both streams have ended or {@link close}. What was read and not handed on is lost with this process;
   * not so with {@link spool}, of which there is one or the other.
   */
  read(): OutputSources {
    const stdout = readingSocket(this.#stdoutFd)
    const stderr = this.#stderrFd === undefined ? undefined : readingSocket(this.#stderrFd)
    this.#stopReading = () => {
      stdout.destroy()
      stderr?.destroy()
    }
    return { stdout, stderr }
  }

  /** Begins to move output to files beside the FIFOs, where a later process finds what was not handed on. */
  spool(): SpooledSources {
    const stdout = new Spool(this.#stdoutFd, `${this.io.stdout}.spool`)
    const stderr = this.#stderrFd === undefined ? undefined : new Spool(this.#stderrFd, `${this.io.stderr}.spool`)
    this.#stopReading = () => {
      stdout.stop()
      stderr?.stop()
    }
    return { stdout, stderr, mark: new MarkFile(join(this.#dir, 'mark')) }
  }

  /**
   * The way into the process, from `create` or `exec` on. To end its input, end this, wait for `finish`, and call
   * `closeIO`, for the shim holds the FIFO open too.
   *
   * @throws PurserError failed_precondition when the process takes no input, or does not exist (any more)
   */
  openStdin(): Socket {
    if (this.#stdin && !this.#stdin.destroyed) return this.#stdin
    if (this.io.stdin === '') {
      throw new PurserError('failed_precondition', 'the process takes no input', {
        remedy: 'create it with its standard input open',
      })
    }
    try {
      const fd = openSync(this.io.stdin, constants.O_WRONLY | constants.O_NONBLOCK)
      this.#stdin = new Socket({ fd, readable: false, writable: true })
    } catch (cause) {
      if (errnoOf(cause) !== 'ENXIO' && errnoOf(cause) !== 'ENOENT') throw cause
      throw new PurserError('failed_precondition', 'the process is not there to take input', { cause })
    }
    // A process may end without reading all: that is its right, and no failure of ours.
    this.#stdin.on('error', () => this.#stdin?.destroy())
    return this.#stdin
  }

  /** Closes our ends; the process and its FIFOs stay. */
  close(): void {
    this.#stopReading()
    this.#stopReading = () => {}
    this.#stdin?.destroy()
  }

  /** Closes our ends and removes the FIFOs. */
  async remove(): Promise<void> {
    this.close()
    await rm(this.#dir, { recursive: true, force: true })
  }
}

/** As much as the kernel allows anybody: what a process may write while nobody reads. @see pipe(7), pipe-max-size */
const PIPE_BYTES = 1024 * 1024

/** Opens without waiting for a writer. */
function openReader(path: string): number {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  setPipeBytes(fd, PIPE_BYTES) // Where it cannot be had, it stays as it is.
  return fd
}

const readingSocket = (fd: number): Socket => new Socket({ fd, readable: true, writable: false })
