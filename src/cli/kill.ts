import { defineContainersVerb } from './line/each-container.ts'
import { signalWord } from './options/container.ts'

export const verb = defineContainersVerb(
  'task.kill',
  { signal: { short: 's', value: 'signal', parse: signalWord, help: 'SIGKILL by default' } },
  ({ signal = 'SIGKILL' }) => ({ signal }),
)
