import { defineVerb } from './line/verb.ts'
import { printJson } from './terminal/output.ts'

export const verb = defineVerb({
  args: [],
  options: { check: { help: 'only compare; exit status 1 when there are differences' } },
  async run({ client, flags, format }) {
    const mode = flags.check ? 'check' : 'repair'
    const found = await client.post<{ differences: unknown[] }>('/v1/state/rebuild', { mode })
    printJson(found, format)
    return flags.check && found.differences.length > 0 ? 1 : 0
  },
})
