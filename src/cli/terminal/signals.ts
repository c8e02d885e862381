import { constants } from 'node:os'

const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const
export type ForwardedSignal = (typeof FORWARDED)[number]

/** Is told which signal came, and how many of that kind there have been. */
export type SignalHandler = (signal: ForwardedSignal, count: number) => void

/** The exit status of a shell for what a signal ended. */
export const statusOf = (signal: ForwardedSignal): number => 128 + constants.signals[signal]

/**
 * Hears signals, which then do not end this process. What they lead to may change meanwhile: between two listeners one
 * could get lost.
 */
export class Signals implements Disposable {
  handler: SignalHandler
  readonly #counts = new Map<ForwardedSignal, number>()

  constructor(handler: SignalHandler) {
    this.handler = handler
    for (const signal of FORWARDED) process.on(signal, this.#hear)
  }

  [Symbol.dispose](): void {
    for (const signal of FORWARDED) process.off(signal, this.#hear)
  }

  readonly #hear = (signal: NodeJS.Signals) => {
    const known = FORWARDED.find((each) => each === signal)
    if (known === undefined) return
    const count = (this.#counts.get(known) ?? 0) + 1
    this.#counts.set(known, count)
    this.handler(known, count)
  }
}

/** For a process in a container: Ctrl-C is SIGINT, then SIGKILL, and the third time we leave it alone. */
export function forwarding(kill: (signal: string) => Promise<unknown>, leave: (status: number) => void): SignalHandler {
  return (signal, count) => {
    if (signal === 'SIGINT' && count > 2) return leave(statusOf(signal))
    if (signal === 'SIGINT' && process.stderr.isTTY) {
      process.stderr.write(count === 1 ? '\npurser: once more to kill it\n' : '\npurser: once more to leave it alone\n')
    }
    // What has ended meanwhile needs no signal; its exit is told by the stream.
    kill(signal === 'SIGINT' && count === 2 ? 'SIGKILL' : signal).catch(() => {})
  }
}
