import { each } from './line/each.ts'
import { defineVerb } from './line/verb.ts'
import { label, labelsOf } from './options/container.ts'
import { address } from './options/network.ts'

export const verb = defineVerb({
  args: [{ name: 'name', count: '1-' }],
  options: {
    driver: { short: 'd', value: 'driver', choices: ['bridge'], help: 'bridge, which is the default' },
    subnet: { value: 'cidr', help: 'subnet, such as 10.89.3.0/24; a free one by default' },
    gateway: { value: 'address', parse: address, help: "the bridge's own address; the first of the subnet by default" },
    internal: { help: 'nothing leads out of it' },
    label: { short: 'l', value: 'key=value', many: true, parse: label, help: 'label' },
  },
  run: ({ client, args, flags, debug }) =>
    each(args, debug, async (subject) => {
      const { subnet, gateway, internal } = flags
      const payload = { subnet, gateway, internal, labels: labelsOf(flags.label) }
      return (await client.execute('network.create', { subject, payload })).subject
    }),
})
