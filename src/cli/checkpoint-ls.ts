import { defineVerb } from './line/verb.ts'
import { age, humanSize, print } from './terminal/output.ts'

export const verb = defineVerb({
  args: [{ name: 'container', count: '1', completes: 'container' }],
  options: {},
  async run({ client, args: [container = ''], format }) {
    const { checkpoints = {} } = await client.container(container)
    const rows = Object.entries(checkpoints).map(([name, checkpoint]) => ({ name, ...checkpoint }))
    print(rows, format, {
      CHECKPOINT: ({ name }) => name,
      SIZE: ({ sizeBytes }) => humanSize(sizeBytes),
      FILES: ({ files }) => (files === 'keep' ? 'kept' : ''),
      RUNTIME: ({ runtime }) => runtime,
      CRIU: ({ criu }) => criu,
      CREATED: ({ createdAt }) => age(createdAt),
    })
    return 0
  },
})
