import { defineVerb } from './line/verb.ts'
import { printJson } from './terminal/output.ts'

export const verb = defineVerb({
  args: [{ name: 'event', count: '1' }],
  options: {},
  async run({ client, args: [event = ''], format }) {
    printJson(await client.get(`/v1/log/proofs/${encodeURIComponent(event)}`), format)
    return 0
  },
})
