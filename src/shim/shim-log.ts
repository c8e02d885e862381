import { closeSync, constants, openSync } from 'node:fs'
import { Socket } from 'node:net'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { ensureFifo } from './fifo.ts'

const LINE_BYTES_MAX = 16 * 1024

/** Reads what a shim writes of itself into our own log. It must be open before the shim starts. */
export class ShimLog {
  readonly #socket: Socket
  readonly #logger: Pick<Logger, 'debug'>
  #fields: object
  #rest = ''

  private constructor(fd: number, logger: Pick<Logger, 'debug'>, fields: object) {
    this.#logger = logger
    this.#fields = fields
    this.#socket = new Socket({ fd, readable: true, writable: false })
    this.#socket.setEncoding('utf8')
    this.#socket.on('data', (text: string) => this.#read(text))
    this.#socket.on('error', () => this.#socket.destroy())
    this.#socket.unref()
  }

  static open(bundle: string, logger: Pick<Logger, 'debug'>, fields: object): ShimLog {
    const path = join(bundle, 'log')
    ensureFifo(path)
    // Open for writing too: the shim may come and go without an end to our reading.
    const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK)
    try {
      return new ShimLog(fd, logger, fields)
    } catch (error) {
      closeSync(fd)
      throw error
    }
  }

  /** @param fields of each line from now on */
  relabel(fields: object): void {
    this.#fields = fields
  }

  close(): void {
    if (this.#rest !== '') this.#write(this.#rest)
    this.#rest = ''
    this.#socket.destroy()
  }

  #read(text: string): void {
    const lines = (this.#rest + text).split('\n')
    const last = lines.pop() ?? ''
    for (const line of lines) this.#write(line)
    this.#rest = last.length > LINE_BYTES_MAX ? '' : last
  }

  #write(line: string): void {
    this.#logger.debug({ ...this.#fields, line }, 'shim log')
  }
}
