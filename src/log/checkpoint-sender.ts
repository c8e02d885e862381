import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { fetch } from 'undici'

const ATTEMPT_MS = 10_000
const RETRY_MS_MAX = 300_000

/**
 * Sends signed heads off the host, where nobody who takes the host over can change them. The newest counts: one that could
 * not be sent is left out when a later one is there, which covers it.
 */
export class CheckpointSender {
  readonly #url: string
  readonly #logger: Logger
  readonly #stop = new AbortController()
  #newest: string | undefined
  #sending: Promise<void> | undefined

  constructor(url: string, logger: Logger) {
    this.#url = url
    this.#logger = logger
  }

  send(checkpoint: string): void {
    this.#newest = checkpoint
    this.#sending ??= this.#run().finally(() => {
      this.#sending = undefined
    })
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#sending
  }

  async #run(): Promise<void> {
    let pauseMs = 1000
    while (this.#newest !== undefined && !this.#stop.signal.aborted) {
      const checkpoint = this.#newest
      try {
        const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(ATTEMPT_MS)])
        const headers = { 'content-type': 'text/plain; charset=utf-8' }
        const answer = await fetch(this.#url, { method: 'POST', body: checkpoint, headers, signal, redirect: 'error' })
        await answer.body?.cancel()
        if (!answer.ok) throw new Error(`HTTP status ${answer.status}`)
        if (this.#newest === checkpoint) this.#newest = undefined
        pauseMs = 1000
      } catch (err) {
        if (this.#stop.signal.aborted) return
        this.#logger.warn({ err, retryMs: pauseMs }, 'the checkpoint could not be sent')
        await delay(pauseMs, undefined, { signal: this.#stop.signal, ref: false }).catch(() => {})
        pauseMs = Math.min(pauseMs * 2, RETRY_MS_MAX)
      }
    }
  }
}
