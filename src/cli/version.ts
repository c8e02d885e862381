import { defineVerb } from './line/verb.ts'
import { printJson } from './terminal/output.ts'

export const verb = defineVerb({
  args: [],
  options: {},
  async run({ client, format }) {
    const found = await client.get<{ version: string }>('/v1/version')
    if (format === 'table') process.stdout.write(`purser ${found.version}\n`)
    else printJson(found, format)
    return 0
  },
})
