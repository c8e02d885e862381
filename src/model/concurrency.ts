/** A counting semaphore: at most `slots` holders, the rest wait in order of arrival. */
export class Semaphore {
  #free: number
  readonly #waiting: (() => void)[] = []

  constructor(slots: number) {
    this.#free = slots
  }

  /** Takes a slot; dispose the result to give it back. Rejects with the signal's reason when it aborts first. */
  async acquire(signal?: AbortSignal): Promise<Disposable> {
    signal?.throwIfAborted()
    if (this.#free > 0) this.#free -= 1
    else {
      await new Promise<void>((resolve, reject) => {
        const onAbort = () => {
          const at = this.#waiting.indexOf(grant)
          if (at >= 0) this.#waiting.splice(at, 1)
          reject(signal?.reason)
        }
        const grant = () => {
          signal?.removeEventListener('abort', onAbort)
          resolve()
        }
        signal?.addEventListener('abort', onAbort, { once: true })
        this.#waiting.push(grant)
      })
    }
    return this.#slot()
  }

  get free(): number {
    return this.#free
  }

  /** Takes a slot if one is free. */
  tryAcquire(): Disposable | undefined {
    if (this.#free === 0) return undefined
    this.#free -= 1
    return this.#slot()
  }

  #slot(): Disposable {
    let held = true
    return {
      [Symbol.dispose]: () => {
        if (!held) return
        held = false
        const next = this.#waiting.shift()
        if (next) next()
        else this.#free += 1
      },
    }
  }
}

/** Maps with at most `concurrency` calls at once; the first failure aborts the signal that the others hold. */
export async function mapLimited<T, R>(
  items: readonly T[],
  concurrency: number,
  signal: AbortSignal,
  call: (item: T, signal: AbortSignal, index: number) => Promise<R>,
): Promise<R[]> {
  const stop = new AbortController()
  const within = AbortSignal.any([signal, stop.signal])
  const results: R[] = new Array(items.length)
  let next = 0
  const lane = async () => {
    while (next < items.length) {
      within.throwIfAborted()
      const index = next++
      results[index] = await call(items[index] as T, within, index)
    }
  }
  const lanes = Array.from({ length: Math.min(concurrency, items.length) }, () =>
    lane().catch((error) => {
      stop.abort(error)
      throw error
    }),
  )
  const settled = await Promise.allSettled(lanes)
  if (settled.some((lane) => lane.status === 'rejected')) {
    signal.throwIfAborted()
    throw stop.signal.reason
  }
  return results
}

/** The promise's outcome, unless the signal aborts first: then its reason, and the promise goes on for whoever else waits for it. */
export async function whileWanted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  const aborted = Promise.withResolvers<never>()
  const onAbort = () => aborted.reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([promise, aborted.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
