import { Semaphore } from '../model/concurrency.ts'

/** Where a command begins in the moment in which it is accepted: to nobody else, and with no way through a queue. */
export interface Reservation extends Disposable {
  /** What `command.started` names. */
  readonly worker: string
  /** The command is in the log as begun. @param token what its attempt proves itself with */
  begin(token: number): void
}

/**
 * The places of one worker, whichever way a command comes to one, and the commands in its queue. A job says that a command
 * waits; which of them takes the next place is told here: the queue may have given out others while no place was free.
 */
export class Places {
  readonly #slots: Semaphore
  readonly #priorities = new Map<string, number>()
  /** By priority, in the order in which they came. */
  readonly #waiting = new Map<number, Set<string>>()

  constructor(count: number) {
    this.#slots = new Semaphore(count)
  }

  /** The command is in the queue. */
  waits(id: string, priority: number): void {
    if (this.#priorities.has(id)) return
    this.#priorities.set(id, priority)
    const equal = this.#waiting.get(priority) ?? new Set()
    this.#waiting.set(priority, equal.add(id))
  }

  waitsNoLonger(id: string): void {
    const priority = this.#priorities.get(id)
    if (priority === undefined) return
    this.#priorities.delete(id)
    const equal = this.#waiting.get(priority)
    equal?.delete(id)
    if (equal?.size === 0) this.#waiting.delete(priority)
  }

  /** The most urgent command in the queue, and of equal ones the oldest. */
  get next(): string | undefined {
    let first: number | undefined
    for (const priority of this.#waiting.keys()) if (first === undefined || priority < first) first = priority
    return first === undefined ? undefined : this.#waiting.get(first)?.values().next().value
  }

  /** For what the queue gave out. @throws the signal's reason when it aborts before a place is free */
  take(signal?: AbortSignal): Promise<Disposable> {
    return this.#slots.acquire(signal)
  }

  /** For a step: whoever waits for it holds a place already. */
  tryTake(): Disposable | undefined {
    return this.#slots.tryAcquire()
  }

  /** For a command that has just come: none while others wait in the queue; and the last one is the queue's. */
  tryTakeUnasked(): Disposable | undefined {
    return this.#priorities.size === 0 && this.#slots.free > 1 ? this.#slots.tryAcquire() : undefined
  }
}
