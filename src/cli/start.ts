import { defineContainersVerb } from './line/each-container.ts'

export const verb = defineContainersVerb(
  'container.start',
  { checkpoint: { value: 'name', help: 'have it go on from this checkpoint, instead of beginning anew' } },
  ({ checkpoint }) => ({ checkpoint }),
)
