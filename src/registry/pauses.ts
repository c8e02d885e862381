import { setTimeout as delay } from 'node:timers/promises'
import { PurserError } from '../model/errors.ts'

const HOSTS_MAX = 1000
/** Those who waited for one moment do not all come at it. */
const SPREAD = 0.2

/** Hosts that asked to be left alone for a while: whoever wants something of them, for whichever image, waits. */
export class HostPauses {
  readonly #untilMs = new Map<string, number>()

  /** @param forMs from now on; a pause that is longer already stays */
  pause(host: string, forMs: number): void {
    const untilMs = Math.max(Date.now() + forMs, this.#untilMs.get(host) ?? 0)
    this.#untilMs.delete(host)
    this.#untilMs.set(host, untilMs)
    const [oldest] = this.#untilMs.keys()
    if (this.#untilMs.size > HOSTS_MAX && oldest !== undefined) this.#untilMs.delete(oldest)
  }

  /** @throws PurserError unavailable when it would take longer than `maxMs` */
  async wait(host: string, maxMs: number, signal: AbortSignal): Promise<void> {
    for (;;) {
      const forMs = (this.#untilMs.get(host) ?? 0) - Date.now()
      if (forMs <= 0) return
      if (forMs > maxMs) {
        throw new PurserError('unavailable', `${host} asks to be left alone for ${Math.ceil(forMs / 1000)} s`, {
          remedy: 'wait, or log in to be allowed more: docker login',
        })
      }
      await delay(forMs * (1 + SPREAD * Math.random()), undefined, { signal })
    }
  }
}
