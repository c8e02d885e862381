import { constants } from 'node:os'

const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const
export type ForwardedSignal = (typeof FORWARDED)[number]

/** The exit status of a shell for what a signal ended. */
export const statusOf = (signal: ForwardedSignal): number => 128 + constants.signals[signal]

/**
 * Hears signals instead of being ended by them.
 *
 * @param onSignal is told which, and how many of that kind there have been
 */
export function hearSignals(onSignal: (signal: ForwardedSignal, count: number) => void): Disposable {
  const counts = new Map<ForwardedSignal, number>()
  const hear = (signal: ForwardedSignal) => {
    const count = (counts.get(signal) ?? 0) + 1
    counts.set(signal, count)
    onSignal(signal, count)
  }
  for (const signal of FORWARDED) process.on(signal, hear)
  return {
    [Symbol.dispose]: () => {
      for (const signal of FORWARDED) process.off(signal, hear)
    },
  }
}

/** Signals for a process in a container: Ctrl-C is SIGINT, then SIGKILL, and the third time we leave it alone. */
export function forwardSignals(
  kill: (signal: string) => Promise<unknown>,
  leave: (status: number) => void,
): Disposable {
  return hearSignals((signal, count) => {
    if (signal === 'SIGINT' && count > 2) return leave(statusOf(signal))
    if (signal === 'SIGINT' && process.stderr.isTTY) {
      process.stderr.write(count === 1 ? '\npurser: once more to kill it\n' : '\npurser: once more to leave it alone\n')
    }
    // What has ended meanwhile needs no signal; its exit is told by the stream.
    kill(signal === 'SIGINT' && count === 2 ? 'SIGKILL' : signal).catch(() => {})
  })
}
