import { defineVerb } from './line/verb.ts'
import { printJson } from './terminal/output.ts'

export const verb = defineVerb({
  args: [],
  options: {},
  async run({ client, format }) {
    const sealed = await client.post<{ sealed: number; checkpoint: string }>('/v1/log/seal')
    if (format === 'table') process.stdout.write(`sealed through event ${sealed.sealed}\n`)
    else printJson(sealed, format)
    return 0
  },
})
