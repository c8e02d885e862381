import { createSocket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { errnoOf } from '../../host/syscalls.ts'
import { UnixDatagramSocket } from '../../host/unix-datagram.ts'
import type { LogEntry } from '../log-format.ts'
import { Connection } from './connection.ts'
import { type LogSink, type LogSource, textOf } from './sink.ts'

export type SyslogTarget = { by: 'udp' | 'tcp'; host: string; port: number } | { by: 'unix' | 'unixgram'; path: string }

export interface SyslogOptions {
  target: SyslogTarget
  facility: number
}

const SEVERITY = { stdout: 6, stderr: 3 } as const
const AGAIN_MS = 5
/** In UTF-8. */
const CHARACTER_BYTES_MAX = 4
/** What every receiver must take is less; most take 8 KiB. @see RFC 5424 section 6.1 */
const MESSAGE_BYTES_MAX = 8000

/**
 * One line, as RFC 5424 has it: the stream stands as its message id, the container's id as its process id. A long one is several
 * messages: of what is too long for it a receiver drops the rest, or takes that for a message of its own, of whomever it names.
 */
export function syslogMessages(entry: LogEntry, source: LogSource, facility: number): Buffer[] {
  const time = entry.time.replace(/(\.\d{6})\d*Z$/, '$1Z') // At most microseconds. @see RFC 5424 section 6.2.3
  const words = [`<${facility * 8 + SEVERITY[entry.stream]}>1`, time, source.hostname, source.tag, source.container]
  const head = Buffer.from(`${words.join(' ')} ${entry.stream} - `)
  return pieces(textOf(entry), MESSAGE_BYTES_MAX - head.length).map((piece) => Buffer.concat([head, piece]))
}

/** Cut where a character of UTF-8 begins, if there is one. */
function pieces(text: Buffer, bytesMax: number): Buffer[] {
  if (text.length <= bytesMax) return [text]
  let end = bytesMax
  while (end > bytesMax - CHARACTER_BYTES_MAX && ((text[end] ?? 0) & 0xc0) === 0x80) end -= 1
  return [text.subarray(0, end), ...pieces(text.subarray(end), bytesMax)]
}

/** Over TCP and stream sockets messages are counted. @see RFC 6587 section 3.4.1 */
export class SyslogSink implements LogSink {
  readonly #source: LogSource
  readonly #facility: number
  readonly #transport: ((message: Buffer, signal: AbortSignal) => Promise<void>) & Disposable

  constructor({ target, facility }: SyslogOptions, source: LogSource) {
    this.#source = source
    this.#facility = facility
    if (target.by === 'unixgram') this.#transport = unixDatagrams(target.path)
    else if (target.by === 'udp') this.#transport = udpDatagrams(target.host, target.port)
    else this.#transport = counted(new Connection(target))
  }

  async send(entries: readonly LogEntry[], signal: AbortSignal): Promise<void> {
    for (const entry of entries) {
      for (const message of syslogMessages(entry, this.#source, this.#facility)) await this.#transport(message, signal)
    }
  }

  [Symbol.dispose](): void {
    this.#transport[Symbol.dispose]()
  }
}

type Transport = ((message: Buffer, signal: AbortSignal) => Promise<void>) & Disposable

function counted(connection: Connection): Transport {
  const send = (message: Buffer, signal: AbortSignal) =>
    connection.write(Buffer.concat([Buffer.from(`${message.length} `), message]), signal)
  return Object.assign(send, { [Symbol.dispose]: () => connection[Symbol.dispose]() })
}

function udpDatagrams(host: string, port: number): Transport {
  const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4').unref()
  socket.on('error', () => {}) // Each send tells its own.
  const send = (message: Buffer) =>
    new Promise<void>((resolve, reject) => {
      socket.send(message, port, host, (error) => (error ? reject(error) : resolve()))
    })
  return Object.assign(send, { [Symbol.dispose]: () => void socket.close() })
}

function unixDatagrams(path: string): Transport {
  let socket: UnixDatagramSocket | undefined
  const close = () => {
    socket?.[Symbol.dispose]()
    socket = undefined
  }
  const send = async (message: Buffer, signal: AbortSignal) => {
    for (;;) {
      try {
        socket ??= new UnixDatagramSocket(path)
        return socket.send(message)
      } catch (error) {
        if (errnoOf(error) !== 'EAGAIN') {
          close()
          throw error
        }
        await delay(AGAIN_MS, undefined, { signal })
      }
    }
  }
  return Object.assign(send, { [Symbol.dispose]: close })
}
