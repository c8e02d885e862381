import { defineContainersVerb } from './line/each-container.ts'
import { signalWord } from './options/container.ts'

export const verb = defineContainersVerb(
  'task.kill',
  {
    signal: { short: 's', value: 'signal', parse: signalWord, help: 'SIGKILL by default' },
    exec: { value: 'id', help: 'not the container, but this exec of it, with all that it has started' },
  },
  ({ signal = 'SIGKILL', exec: execId }) => ({ signal, ...(execId === undefined ? {} : { execId, target: 'all' }) }),
)
