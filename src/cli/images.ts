import { filters } from './line/filters.ts'
import { defineVerb } from './line/verb.ts'
import { age, humanSize, print } from './terminal/output.ts'

export const verb = defineVerb({
  args: [],
  options: {
    quiet: { short: 'q', help: 'only names' },
    filter: { short: 'f', value: 'filter', many: true, help: 'label=KEY[=VALUE]' },
  },
  async run({ client, flags, format }) {
    const { label } = filters(flags.filter, ['label'])
    const images = await Array.fromAsync(client.list('images', { label }))
    if (flags.quiet) process.stdout.write(images.map(({ name }) => `${name}\n`).join(''))
    else
      print(images, format, {
        NAME: ({ name }) => name,
        DIGEST: ({ target }) => target.digest.slice(7, 19),
        PLATFORM: ({ platform }) => platform,
        CREATED: ({ createdAt }) => age(createdAt),
        SIZE: ({ sizeBytes }) => humanSize(sizeBytes),
      })
    return 0
  },
})
