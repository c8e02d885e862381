import { filters } from './line/filters.ts'
import { defineVerb } from './line/verb.ts'
import { age, print } from './terminal/output.ts'

export const verb = defineVerb({
  args: [],
  options: {
    quiet: { short: 'q', help: 'only ids' },
    filter: { short: 'f', value: 'filter', many: true, help: 'label=KEY[=VALUE]' },
  },
  async run({ client, flags, format }) {
    const { label } = filters(flags.filter, ['label'])
    const sandboxes = await Array.fromAsync(client.list('sandboxes', { label }))
    if (flags.quiet) process.stdout.write(sandboxes.map(({ id }) => `${id}\n`).join(''))
    else
      print(sandboxes, format, {
        ID: ({ id }) => id,
        STATUS: ({ status }) => status,
        RUNTIME: ({ runtime }) => runtime,
        SANDBOXER: ({ sandboxer }) => sandboxer,
        ADDRESS: ({ attached }) => attached?.interfaces.flatMap(({ addresses }) => addresses).join(', ') ?? '',
        CREATED: ({ createdAt }) => age(createdAt),
      })
    return 0
  },
})
