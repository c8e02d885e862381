import { failed } from './line/failed.ts'
import { imageNamed } from './line/image-name.ts'
import { defineVerb } from './line/verb.ts'
import { printJson } from './terminal/output.ts'

export const verb = defineVerb({
  args: [{ name: 'image', count: '1-', completes: 'image' }],
  options: {},
  async run({ client, args, format, debug }) {
    const found: unknown[] = []
    let status = 0
    for (const given of args) {
      try {
        const name = await imageNamed(client, given)
        found.push(await client.get(`/v1/images/${encodeURIComponent(name)}/details`))
      } catch (thrown) {
        const code = failed(thrown, { debug })
        if (status === 0) status = code
      }
    }
    if (format === 'ndjson') for (const each of found) printJson(each, 'ndjson')
    else printJson(found)
    return status
  },
})
