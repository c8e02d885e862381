import { defineContainersVerb } from './line/each-container.ts'
import { signalWord } from './options/container.ts'
import { wholeNumber } from './options/numbers.ts'

export const verb = defineContainersVerb(
  'container.stop',
  {
    time: {
      short: 't',
      value: 'seconds',
      parse: wholeNumber(0, 86_400),
      help: "until SIGKILL follows; the container's --stop-timeout by default, or else 10",
    },
    signal: { short: 's', value: 'signal', parse: signalWord, help: "instead of the container's stop signal" },
  },
  ({ time, signal }) => ({ graceMs: time === undefined ? undefined : time * 1000, signal }),
)
