import type { FlagsOf, OptionSpecs } from '../line/verb.ts'
import { signalWord } from './container.ts'
import { wholeNumber } from './numbers.ts'

/** What `stop` and `restart` share. */
export const stopOptions = {
  time: {
    short: 't',
    value: 'seconds',
    parse: wholeNumber(0, 86_400),
    help: "until SIGKILL follows; the container's --stop-timeout by default, or else 10",
  },
  signal: { short: 's', value: 'signal', parse: signalWord, help: "instead of the container's stop signal" },
} as const satisfies OptionSpecs

export const stopPayload = ({ time, signal }: FlagsOf<typeof stopOptions>) => ({
  graceMs: time === undefined ? undefined : time * 1000,
  signal,
})
