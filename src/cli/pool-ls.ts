import { defineVerb } from './line/verb.ts'
import { age, print } from './terminal/output.ts'

export const verb = defineVerb({
  args: [],
  options: { quiet: { short: 'q', help: 'only names' } },
  async run({ client, flags, format }) {
    const pools = await Array.fromAsync(client.list('pools'))
    if (flags.quiet) process.stdout.write(pools.map(({ name }) => `${name}\n`).join(''))
    else
      print(pools, format, {
        NAME: ({ name }) => name,
        IMAGE: ({ template }) => template.image,
        STATUS: ({ status, fault }) => (status !== 'present' ? status : fault ? 'failing' : 'active'),
        SIZE: ({ sizing: { min, max = min } }) => (max === min ? String(min) : `${min}-${max}`),
        READY: ({ ready }) => String(ready),
        WARMING: ({ warming }) => String(warming),
        CLAIMED: ({ claimed }) => String(claimed),
        CREATED: ({ createdAt }) => age(createdAt),
      })
    return 0
  },
})
