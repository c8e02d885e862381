import { PurserError } from '../model/errors.ts'
import { each } from './line/each.ts'
import { defineVerb } from './line/verb.ts'
import { label, labelsOf } from './options/container.ts'
import { address } from './options/network.ts'

export const verb = defineVerb({
  args: [{ name: 'name', count: '1-' }],
  options: {
    driver: { short: 'd', value: 'driver', choices: ['bridge'], help: 'bridge, which is the default' },
    ipv6: { help: 'its containers have an IPv6 address too' },
    subnet: {
      value: 'cidr',
      many: true,
      help: 'subnet, such as 10.89.3.0/24, and one of IPv6, such as fd00:89:3::/64; free ones by default',
    },
    gateway: {
      value: 'address',
      many: true,
      parse: address,
      help: "the bridge's own address of a subnet; its first by default",
    },
    internal: { help: 'nothing leads out of it' },
    label: { short: 'l', value: 'key=value', many: true, parse: label, help: 'label' },
  },
  run: ({ client, args, flags, debug }) =>
    each(args, debug, async (subject) => {
      const { ipv6, internal } = flags
      const [subnet, subnet6] = byFamily('subnet', flags.subnet)
      const [gateway, gateway6] = byFamily('gateway', flags.gateway)
      const payload = { ipv6, subnet, subnet6, gateway, gateway6, internal, labels: labelsOf(flags.label) }
      return (await client.execute('network.create', { subject, payload })).subject
    }),
})

/** The one of IPv4 and the one of IPv6. */
function byFamily(option: string, given: readonly string[]): [string | undefined, string | undefined] {
  const isOf6 = (text: string) => text.includes(':')
  const families = [given.filter((text) => !isOf6(text)), given.filter(isOf6)]
  const twice = families.find(({ length }) => length > 1)
  if (twice) {
    throw new PurserError('invalid_argument', `--${option} ${twice.join(` and --${option} `)} are of one family`, {
      remedy: 'a network has one subnet of IPv4 and one of IPv6',
    })
  }
  return [families[0]?.[0], families[1]?.[0]]
}
