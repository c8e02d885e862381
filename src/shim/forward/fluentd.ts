import { isUtf8 } from 'node:buffer'
import { randomBytes } from 'node:crypto'
import type { LogEntry } from '../log-format.ts'
import { Connection } from './connection.ts'
import { EventTime, type Packable, pack } from './msgpack.ts'
import { type LogSink, type LogSource, textOf } from './sink.ts'

/** Of random bytes, in base64. @see Forward Protocol Specification v1, "Option" */
const CHUNK_ID_BYTES = 16

/**
 * Fluentd's forward protocol, with docker's names of fields. What is sent counts as handed over when the receiver says so.
 *
 * @see Forward Protocol Specification v1, "Forward Mode"
 */
export class FluentdSink implements LogSink {
  readonly #connection: Connection
  readonly #source: LogSource

  constructor(target: { path: string } | { host: string; port: number }, source: LogSource) {
    this.#connection = new Connection(target)
    this.#source = source
  }

  async send(entries: readonly LogEntry[], signal: AbortSignal): Promise<void> {
    const { container, namespace, tag } = this.#source
    const events = entries.map((entry): Packable => {
      const text = textOf(entry)
      const record: Record<string, Packable> = {
        container_id: container,
        container_name: container,
        namespace,
        source: entry.stream,
        log: isUtf8(text) ? text.toString('utf8') : text,
      }
      if (entry.partial) record.partial_message = 'true'
      return [eventTime(entry.time), record]
    })
    const chunk = randomBytes(CHUNK_ID_BYTES).toString('base64')
    await this.#connection.ask(pack([tag, events, { chunk }]), pack({ ack: chunk }), signal)
  }

  [Symbol.dispose](): void {
    this.#connection[Symbol.dispose]()
  }
}

function eventTime(time: string): EventTime {
  const [, decimals = ''] = /\.(\d{1,9})/.exec(time) ?? []
  return new EventTime(Math.floor(Date.parse(time) / 1000), Number(decimals.padEnd(9, '0')))
}
