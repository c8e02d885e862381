import { setTimeout as delay } from 'node:timers/promises'
import { errnoOf } from '../../host/syscalls.ts'
import { UnixDatagramSocket } from '../../host/unix-datagram.ts'
import type { LogEntry } from '../log-format.ts'
import { type LogSink, type LogSource, textOf } from './sink.ts'

const AGAIN_MS = 5
/** Below what a datagram may have by default; journald itself splits no lines. */
const TEXT_BYTES_MAX = 48 * 1024
const PRIORITY = { stdout: 6, stderr: 3 } as const

/** journald's own protocol, with docker's names of fields. @see systemd, "Native Journal Protocol" */
export class JournaldSink implements LogSink {
  readonly #path: string
  readonly #source: LogSource
  #socket: UnixDatagramSocket | undefined

  constructor(path: string, source: LogSource) {
    this.#path = path
    this.#source = source
  }

  async send(entries: readonly LogEntry[], signal: AbortSignal): Promise<void> {
    for (const entry of entries) {
      const text = textOf(entry)
      for (let at = 0; at === 0 || at < text.length; at += TEXT_BYTES_MAX) {
        const piece = text.subarray(at, at + TEXT_BYTES_MAX)
        const isPartial = entry.partial || at + TEXT_BYTES_MAX < text.length
        await this.#send(this.#datagram(entry, piece, isPartial), signal)
      }
    }
  }

  [Symbol.dispose](): void {
    this.#socket?.[Symbol.dispose]()
    this.#socket = undefined
  }

  #datagram({ stream, time }: LogEntry, text: Buffer, isPartial: boolean): Buffer {
    const { namespace, container, tag } = this.#source
    const fields = {
      PRIORITY: String(PRIORITY[stream]),
      SYSLOG_IDENTIFIER: tag,
      CONTAINER_ID: container,
      CONTAINER_NAME: container,
      CONTAINER_TAG: tag,
      PURSER_NAMESPACE: namespace,
      PURSER_TIME: time,
      ...(isPartial ? { CONTAINER_PARTIAL_MESSAGE: 'true' } : {}),
    }
    const lines = Object.entries(fields).map(([name, value]) => `${name}=${value}\n`)
    // A text may have line feeds and any bytes: its length goes before it.
    const length = Buffer.alloc(8)
    length.writeBigUInt64LE(BigInt(text.length))
    return Buffer.concat([Buffer.from(`${lines.join('')}MESSAGE\n`), length, text, Buffer.from('\n')])
  }

  async #send(datagram: Buffer, signal: AbortSignal): Promise<void> {
    for (;;) {
      try {
        this.#socket ??= new UnixDatagramSocket(this.#path)
        return this.#socket.send(datagram)
      } catch (error) {
        if (errnoOf(error) !== 'EAGAIN') {
          this[Symbol.dispose]()
          throw error
        }
        await delay(AGAIN_MS, undefined, { signal })
      }
    }
  }
}
