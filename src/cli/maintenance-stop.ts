import { defineVerb } from './line/verb.ts'

export const verb = defineVerb({
  args: [],
  options: {},
  async run({ client }) {
    await client.execute('maintenance.stop', { subject: 'node' })
    return 0
  },
})
