import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { PurserError } from '../../model/errors.ts'

const FLUSH_CHARACTERS = 64 * 1024

/** How long a client may let an answer wait: `limited` to what the server is set to. */
export type Patience = 'endless' | 'limited'

export interface ByteStreamOptions {
  /** Aborts when the client has gone. */
  signal: AbortSignal
  stalledMs: number
  onStalled: () => void
}

/** The body of an answer, written as it comes: never more in memory than the client is behind by one buffer. */
export class ByteStream {
  readonly #response: ServerResponse
  readonly #signal: AbortSignal
  readonly #stalledMs: number
  readonly #onStalled: () => void
  #pending = ''
  #flushing: NodeJS.Immediate | undefined

  constructor(response: ServerResponse, { signal, stalledMs, onStalled }: ByteStreamOptions) {
    this.#response = response
    this.#signal = signal
    this.#stalledMs = stalledMs
    this.#onStalled = onStalled
  }

  /** Resolves when the client takes more. @throws the signal's reason when it has gone */
  async write(chunk: Uint8Array): Promise<void> {
    this.#signal.throwIfAborted()
    this.#flush()
    this.#response.write(chunk)
    await this.#drained('endless')
  }

  /**
   * As write; texts of one turn of the event loop go out together.
   *
   * @throws PurserError aborted when a client whose patience is limited does not take what there is for it
   */
  async writeText(text: string, patience: Patience = 'endless'): Promise<void> {
    this.#signal.throwIfAborted()
    this.#pending += text
    if (this.#pending.length >= FLUSH_CHARACTERS) this.#flush()
    else this.#flushing ??= setImmediate(() => this.#flush())
    await this.#drained(patience)
  }

  /** Writes a sign of life, unless the client is behind anyway. */
  beat(text: string): void {
    const { writableNeedDrain, writableEnded, destroyed } = this.#response
    if (this.#pending !== '' || writableNeedDrain || writableEnded || destroyed) return
    this.#response.write(text)
  }

  end(): void {
    this.#flush()
    this.#response.end()
  }

  /** Ends with a last word, for which a client that stalled has as long again; then the connection is closed. */
  async endWith(text: string): Promise<void> {
    this.#pending += text
    this.end()
    if (!this.#response.writableFinished) await this.#within('finish', this.#stalledMs)
  }

  async #drained(patience: Patience): Promise<void> {
    if (!this.#response.writableNeedDrain) return
    if (patience === 'endless') await once(this.#response, 'drain', { signal: this.#signal })
    else await this.#within('drain', this.#stalledMs)
  }

  async #within(event: 'drain' | 'finish', ms: number): Promise<void> {
    const stalled = new AbortController()
    const timer = setTimeout(() => stalled.abort(), ms)
    try {
      await once(this.#response, event, { signal: AbortSignal.any([this.#signal, stalled.signal]) })
    } catch (error) {
      if (this.#signal.aborted || !stalled.signal.aborted) throw error
      if (event === 'drain') this.#onStalled()
      throw new PurserError('aborted', `the client did not take what was sent to it within ${ms / 1000} s`, {
        remedy: 'read faster, or ask for less with type= and subject=',
      })
    } finally {
      clearTimeout(timer)
    }
  }

  #flush(): void {
    clearImmediate(this.#flushing)
    this.#flushing = undefined
    if (this.#pending === '' || this.#response.destroyed) return
    this.#response.write(this.#pending)
    this.#pending = ''
  }
}
