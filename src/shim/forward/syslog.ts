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
/** What every receiver must take of a datagram is less; most take this. @see RFC 5426 section 3.2 */
const DATAGRAM_BYTES_MAX = 8192

/** One line, as RFC 5424 has it: the stream stands as its message id, the container's id as its process id. */
export function syslogMessage(entry: LogEntry, source: LogSource, facility: number): Buffer {
  const time = entry.time.replace(/(\.\d{6})\d*Z$/, '$1Z') // At most microseconds. @see RFC 5424 section 6.2.3
  const head = [`<${facility * 8 + SEVERITY[entry.stream]}>1`, time, source.hostname, source.tag, source.container]
  return Buffer.concat([Buffer.from(`${head.join(' ')} ${entry.stream} - `), textOf(entry)])
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
    for (const entry of entries) await this.#transport(syslogMessage(entry, this.#source, this.#facility), signal)
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
      socket.send(message.subarray(0, DATAGRAM_BYTES_MAX), port, host, (error) => (error ? reject(error) : resolve()))
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
        return socket.send(message.subarray(0, DATAGRAM_BYTES_MAX))
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
