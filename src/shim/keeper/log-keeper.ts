import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { getCompileCacheDir } from 'node:module'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Logger } from 'pino'
import { peerOf } from '../../host/peer.ts'
import { type FromKeeper, jsonLines, type KeptOutput, type ToKeeper } from './protocol.ts'

const ANSWER_MS = 5000
const START_MS = 10_000
const POLL_MS = 10
const AGAIN_MS = 1000
/** It holds a few files and buffers: its heap needs no more. */
const NODE_OPTIONS = ['--max-old-space-size=64', '--max-semi-space-size=1', '--disable-warning=ExperimentalWarning']

/**
 * Our side of the process that goes on with the logs while no daemon is there. It is started with the first task, outlives
 * us, and is started anew when it dies.
 */
export class LogKeeper implements Disposable {
  readonly #socketPath: string
  readonly #logger: Pick<Logger, 'warn' | 'info'>
  readonly #kept = new Map<string, KeptOutput>()
  readonly #stop = new AbortController()
  #socket: Socket | undefined
  #connecting: Promise<void> | undefined

  /** @param socketPath of its own, in a directory that only root can write to */
  constructor(socketPath: string, logger: Pick<Logger, 'warn' | 'info'>) {
    this.#socketPath = socketPath
    this.#logger = logger
  }

  /** Takes the logs back from one that an earlier daemon has left; before any stream is opened. */
  async takeOver(): Promise<void> {
    const socket = await this.#connect()
    if (!socket) return
    this.#use(socket)
    this.#logger.info('logs were written while no daemon ran')
  }

  add(output: KeptOutput): void {
    this.#kept.set(output.key, output)
    if (this.#socket) this.#say({ add: output })
    else this.#start()
  }

  remove(key: string): void {
    if (this.#kept.delete(key) && this.#socket) this.#say({ remove: key })
  }

  /** Leaves it alone with what there is: from now on it reads. Our own reading must have ended. */
  [Symbol.dispose](): void {
    this.#stop.abort()
    this.#socket?.destroySoon()
  }

  #say(message: ToKeeper): void {
    this.#socket?.write(`${JSON.stringify(message)}\n`)
  }

  #start(): void {
    this.#connecting ??= this.#launch()
      .catch((err) => {
        if (!this.#stop.signal.aborted)
          this.#logger.warn({ err }, 'nothing would go on with the logs without this daemon')
      })
      .finally(() => {
        this.#connecting = undefined
      })
  }

  async #launch(): Promise<void> {
    const program = fileURLToPath(new URL('./keeper-process.ts', import.meta.url))
    const cache = getCompileCacheDir()
    const child = spawn(process.execPath, [...NODE_OPTIONS, program, this.#socketPath], {
      cwd: '/',
      detached: true,
      // What the cache has of these files needs no compiler: that is a third of the memory.
      env: cache === undefined ? {} : { NODE_COMPILE_CACHE: cache },
      stdio: 'ignore',
    })
    child.on('error', () => {}) // That nothing listens tells.
    child.unref()
    const late = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(START_MS)])
    for (;;) {
      late.throwIfAborted()
      const socket = await this.#connect()
      if (socket) {
        this.#use(socket)
        this.#logger.info({ keeper: peerOf(socket)?.pid }, 'logs are kept also while no daemon is there')
        return
      }
      await delay(POLL_MS, undefined, { signal: late, ref: false })
    }
  }

  #use(socket: Socket): void {
    this.#socket = socket
    for (const output of this.#kept.values()) this.#say({ add: output })
    socket.once('close', () => {
      this.#socket = undefined
      if (this.#stop.signal.aborted) return
      this.#logger.warn('the process that goes on with the logs has ended: it is started again')
      setTimeout(() => {
        if (this.#kept.size > 0 && !this.#stop.signal.aborted) this.#start()
      }, AGAIN_MS).unref()
    })
  }

  /** Connected, and nothing is read there any more; undefined when nobody listens. */
  async #connect(): Promise<Socket | undefined> {
    const socket = connect(this.#socketPath)
    try {
      await once(socket, 'connect')
    } catch {
      socket.destroy()
      return undefined
    }
    socket.on('error', () => socket.destroy())
    socket.unref()
    const { promise, resolve } = Promise.withResolvers<void>()
    socket.setEncoding('utf8')
    socket.on(
      'data',
      jsonLines<FromKeeper>(({ yours }) => (yours ? resolve() : undefined)),
    )
    const late = AbortSignal.timeout(ANSWER_MS)
    const answered = await Promise.race([promise.then(() => true), once(late, 'abort').then(() => false)])
    if (answered) return socket
    // Two must not read the same streams: one that does not let go is ended.
    const peer = peerOf(socket)
    socket.destroy()
    if (peer) process.kill(peer.pid, 'SIGKILL')
    return undefined
  }
}
