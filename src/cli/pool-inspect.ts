import { defineVerb } from './line/verb.ts'
import { printJson } from './terminal/output.ts'

export const verb = defineVerb({
  args: [{ name: 'name', count: '1' }],
  options: {},
  async run({ client, args: [name = ''] }) {
    printJson(await client.get(`/v1/pools/${encodeURIComponent(name)}`))
    return 0
  },
})
