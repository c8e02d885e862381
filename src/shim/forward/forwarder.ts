import { readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { LogFile } from '../log-file.ts'
import { readLogBlocks } from '../log-reader.ts'
import type { LogPosition } from '../log-segments.ts'
import type { LogSink } from './sink.ts'

export interface ForwarderOptions {
  log: LogFile
  sink: LogSink
  /** Where it is noted how far it has come. */
  cursorPath: string
  /** Files of the log were rotated away before they were sent. */
  onLost: () => void
  logger: Pick<Logger, 'warn' | 'info'>
}

const BACKOFF_MS_MIN = 100
const BACKOFF_MS_MAX = 5000
const NOTE_MS = 1000
/** How long what an ended process has written is still tried to be sent. */
const AFTERWARDS_MS = 30_000

/**
 * Sends a log on as it grows, from where it was before a restart. The log on disk is all that waits: memory is bounded however
 * slow the receiver, and the process never waits for it.
 */
export class Forwarder {
  readonly ended: Promise<void>
  readonly #options: ForwarderOptions
  readonly #stop = new AbortController()
  #notedAt = 0

  constructor(options: ForwarderOptions) {
    this.#options = options
    this.ended = this.#run()
  }

  stop(): void {
    this.#stop.abort()
  }

  async #run(): Promise<void> {
    const { log, sink, onLost, cursorPath, logger } = this.#options
    const { signal } = this.#stop
    let position = readCursor(cursorPath)
    try {
      const options = { signal, follow: log, onLost, ...(position ? { from: position } : {}) }
      for await (const entries of readLogBlocks(log.path, options)) {
        if (!(await this.#insist(() => sink.send(entries, signal)))) return
        position = entries.at(-1)?.end ?? position
        if (Date.now() - this.#notedAt > NOTE_MS) this.#note(position)
      }
    } catch (err) {
      if (!signal.aborted) logger.warn({ err, path: log.path }, 'a log is not sent on any more')
    } finally {
      this.#note(position)
      sink[Symbol.dispose]()
    }
  }

  /** @returns whether it was done, before it was given up */
  async #insist(send: () => Promise<void>): Promise<boolean> {
    const { log, logger } = this.#options
    let backoffMs = BACKOFF_MS_MIN
    let endedSince: number | undefined
    for (let tries = 1; !this.#stop.signal.aborted; tries++) {
      try {
        await send()
        if (tries > 1) logger.info({ path: log.path }, 'a log is sent on again')
        return true
      } catch (err) {
        if (this.#stop.signal.aborted) return false
        if (tries === 1) logger.warn({ err, path: log.path }, 'a log cannot be sent on: it is tried again')
        if (log.ended) endedSince ??= Date.now()
        if (endedSince !== undefined && Date.now() - endedSince > AFTERWARDS_MS) return false
        await delay(backoffMs, undefined, { signal: this.#stop.signal }).catch(() => {}) // The loop looks at the signal.
        backoffMs = Math.min(2 * backoffMs, BACKOFF_MS_MAX)
      }
    }
    return false
  }

  #note(position: LogPosition | undefined): void {
    if (!position) return
    this.#notedAt = Date.now()
    try {
      writeFileSync(this.#options.cursorPath, JSON.stringify(position), { mode: 0o600 })
    } catch {
      // The container is gone with its log, or the disk is full: at worst something is sent twice.
    }
  }
}

function readCursor(path: string): LogPosition | undefined {
  try {
    const { id, offset }: Partial<LogPosition> = JSON.parse(readFileSync(path, 'utf8'))
    return typeof id === 'string' && typeof offset === 'number' ? { id, offset } : undefined
  } catch {
    return undefined // From the beginning.
  }
}
