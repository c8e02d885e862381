import { filters } from './line/filters.ts'
import { defineVerb } from './line/verb.ts'
import { age, print } from './terminal/output.ts'

export const verb = defineVerb({
  args: [],
  options: {
    quiet: { short: 'q', help: 'only names' },
    filter: { short: 'f', value: 'filter', many: true, help: 'label=KEY[=VALUE]' },
  },
  async run({ client, flags, format }) {
    const { label } = filters(flags.filter, ['label'])
    const networks = await Array.fromAsync(client.list('networks', { label }))
    if (flags.quiet) process.stdout.write(networks.map(({ name }) => `${name}\n`).join(''))
    else
      print(networks, format, {
        NAME: ({ name }) => name,
        DRIVER: ({ driver, internal }) => (internal ? `${driver}, internal` : driver),
        SUBNET: ({ subnet, subnet6 }) => [subnet, ...(subnet6 === undefined ? [] : [subnet6])].join(', '),
        GATEWAY: ({ gateway, gateway6 }) => [gateway, ...(gateway6 === undefined ? [] : [gateway6])].join(', '),
        BRIDGE: ({ bridge }) => bridge,
        CREATED: ({ createdAt }) => age(createdAt),
      })
    return 0
  },
})
