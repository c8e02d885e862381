import { defineVerb } from './line/verb.ts'
import { age, humanSize, print } from './terminal/output.ts'

export const verb = defineVerb({
  args: [],
  options: { quiet: { short: 'q', help: 'only digests' } },
  async run({ client, flags, format }) {
    const content = await Array.fromAsync(client.list('content'))
    if (flags.quiet) process.stdout.write(content.map(({ digest }) => `${digest}\n`).join(''))
    else
      print(content, format, {
        DIGEST: ({ digest }) => digest,
        SIZE: ({ sizeBytes }) => humanSize(sizeBytes),
        CREATED: ({ createdAt }) => age(createdAt),
      })
    return 0
  },
})
