import type { DescMessage, DescMethodUnary, MessageInitShape, MessageShape } from '@bufbuild/protobuf'
import { errorCodeOf, PurserError } from '../model/errors.ts'
import type { CallOptions, TaskClient } from './task-client.ts'

/** So many calls in a row that were not answered in time, and no more are made for a while. */
const FAILURES_MAX = 2
const OPEN_MS = 5000

/**
 * Spares those who call a shim that has stopped answering: they are told at once, instead of each waiting for its own
 * deadline. From time to time one call is let through; when it is answered, all are again. Calls without a deadline wait for
 * something that may take for ever, and tell nothing.
 */
export class CircuitBreaker implements TaskClient {
  readonly #client: TaskClient
  readonly #now: () => number
  #failures = 0
  /** Of the last one, as the clock has it. */
  #failedMs = 0
  #isTrying = false

  /** @param now milliseconds of a clock that only goes on */
  constructor(client: TaskClient, now: () => number = () => performance.now()) {
    this.#client = client
    this.#now = now
  }

  get isClosed(): boolean {
    return this.#client.isClosed
  }

  get closed(): Promise<void> {
    return this.#client.closed
  }

  /** @throws PurserError deadline_exceeded at once while the shim is known not to answer; else as the client does */
  async call<I extends DescMessage, O extends DescMessage>(
    service: string,
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: CallOptions,
  ): Promise<MessageShape<O>> {
    if (options.timeoutMs === undefined) return await this.#client.call(service, method, request, options)
    const isBroken = this.#failures >= FAILURES_MAX
    const sinceMs = this.#now() - this.#failedMs
    if (isBroken && (this.#isTrying || sinceMs < OPEN_MS)) {
      throw new PurserError(
        'deadline_exceeded',
        `the shim has not answered ${this.#failures} calls in a row: ${method.name} is not tried`,
        { remedy: 'purser task doctor tells what is with it; stop the container, or see that its shim goes on' },
      )
    }
    this.#isTrying = isBroken
    try {
      const answer = await this.#client.call(service, method, request, options)
      this.#failures = 0
      return answer
    } catch (error) {
      const code = errorCodeOf(error)
      if (code === 'deadline_exceeded') {
        this.#failures += 1
        this.#failedMs = this.#now()
      } else if (code !== undefined) this.#failures = 0 // It has answered.
      throw error
    } finally {
      if (isBroken) this.#isTrying = false
    }
  }

  close(): void {
    this.#client.close()
  }
}
