import { defineVerb } from './line/verb.ts'
import { printJson } from './terminal/output.ts'

export const verb = defineVerb({
  args: [],
  options: { 'dry-run': { help: 'only say what would go' } },
  async run({ client, flags, format }) {
    const payload = { mode: flags['dry-run'] ? 'dry-run' : 'remove' } as const
    printJson((await client.execute('gc.collect', { subject: 'node', payload })).result, format)
    return 0
  },
})
