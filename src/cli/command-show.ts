import { defineVerb } from './line/verb.ts'
import { printJson } from './terminal/output.ts'

export const verb = defineVerb({
  args: [{ name: 'command', count: '1', completes: 'command' }],
  options: {},
  async run({ client, args: [id = ''], format }) {
    printJson(await client.command(id), format)
    return 0
  },
})
