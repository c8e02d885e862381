import type { LogEntry } from '../log-format.ts'

/** Who writes, for those that are told. */
export interface LogSource {
  namespace: string
  container: string
  tag: string
  /** Of this machine. */
  hostname: string
}

/** Where a log is sent to. */
export interface LogSink extends Disposable {
  /**
   * Fulfilled when all are handed over, as far as the protocol tells. Rejected, all of them are sent again: what has arrived
   * already comes twice.
   */
  send(entries: readonly LogEntry[], signal: AbortSignal): Promise<void>
}

/** What an entry says, without its line's end. */
export const textOf = ({ data, partial }: LogEntry): Buffer => (partial ? data : data.subarray(0, data.length - 1))
