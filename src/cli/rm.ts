import { defineContainersVerb } from './line/each-container.ts'

export const verb = defineContainersVerb(
  'container.remove',
  { force: { short: 'f', help: 'also those that run: kill them' } },
  ({ force }) => ({ running: force ? 'kill' : 'refuse' }),
)
