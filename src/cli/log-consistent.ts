import { readTextFile } from './line/files.ts'
import { defineVerb } from './line/verb.ts'
import { printJson } from './terminal/output.ts'

export const verb = defineVerb({
  args: [{ name: 'old-checkpoint', count: '1', completes: 'file' }],
  options: {},
  async run({ client, args: [file = ''], format }) {
    const checkpoint = await readTextFile(file)
    printJson(await client.post('/v1/log/consistency', {}, { checkpoint }), format)
    return 0
  },
})
