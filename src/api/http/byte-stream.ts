import { once } from 'node:events'
import type { ServerResponse } from 'node:http'

const FLUSH_CHARACTERS = 64 * 1024

/** The body of an answer, written as it comes: never more in memory than the client is behind by one buffer. */
export class ByteStream {
  readonly #response: ServerResponse
  readonly #signal: AbortSignal
  #pending = ''
  #flushing: NodeJS.Immediate | undefined

  constructor(response: ServerResponse, signal: AbortSignal) {
    this.#response = response
    this.#signal = signal
  }

  /** Resolves when the client takes more. @throws the signal's reason when it has gone */
  async write(chunk: Uint8Array): Promise<void> {
    this.#signal.throwIfAborted()
    this.#flush()
    this.#response.write(chunk)
    await this.#drained()
  }

  /** As write; texts of one turn of the event loop go out together. */
  async writeText(text: string): Promise<void> {
    this.#signal.throwIfAborted()
    this.#pending += text
    if (this.#pending.length >= FLUSH_CHARACTERS) this.#flush()
    else this.#flushing ??= setImmediate(() => this.#flush())
    await this.#drained()
  }

  /** Writes a sign of life, unless the client is behind anyway. */
  beat(text: string): void {
    if (this.#pending !== '' || this.#response.writableNeedDrain || this.#response.destroyed) return
    this.#response.write(text)
  }

  end(): void {
    this.#flush()
    this.#response.end()
  }

  async #drained(): Promise<void> {
    if (this.#response.writableNeedDrain) await once(this.#response, 'drain', { signal: this.#signal })
  }

  #flush(): void {
    clearImmediate(this.#flushing)
    this.#flushing = undefined
    if (this.#pending === '' || this.#response.destroyed) return
    this.#response.write(this.#pending)
    this.#pending = ''
  }
}
