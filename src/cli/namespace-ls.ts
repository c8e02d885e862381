import { defineVerb } from './line/verb.ts'
import { age, print } from './terminal/output.ts'

export const verb = defineVerb({
  args: [],
  options: { quiet: { short: 'q', help: 'only names' } },
  async run({ client, flags, format }) {
    const namespaces = await Array.fromAsync(client.list('namespaces'))
    if (flags.quiet) process.stdout.write(namespaces.map(({ name }) => `${name}\n`).join(''))
    else print(namespaces, format, { NAME: ({ name }) => name, CREATED: ({ createdAt }) => age(createdAt) })
    return 0
  },
})
