import { z } from 'zod'
import { identifier } from '../../model/ids.ts'
import { hostname } from './hostname.ts'
import { isNetworkName, networkMode, networksOf } from './network-mode.ts'
import { address, publishedPort } from './published-port.ts'

export const networkName = identifier.refine(isNetworkName, {
  error: ({ input }) => `${input} is no name for a network: it has a meaning of its own`,
})

const mode = z
  .string()
  .max(90)
  .refine((text) => text === 'none' || text === 'host' || networkMode(text) !== undefined, {
    error: ({ input }) => `${JSON.stringify(input)} is none of: none, host, container:ID, the name of a network`,
  })

/** What a caller may ask of a container's network. Absent is what the node has as its default, `none` unless it is configured. */
export const networkOptions = {
  network: mode
    .optional()
    .describe(
      "none: loopback only; host: the host's network; container:ID: that of another container; or the name of a network",
    ),
  moreNetworks: z.array(networkName).min(1).max(16).optional().describe('networks besides that one, each an interface'),
  ip: address.optional().describe('its address in the network, instead of the next that is free'),
  ip6: z.ipv6().optional().describe('its IPv6 address in the network, likewise'),
  mac: z
    .string()
    .regex(
      /^[0-9a-fA-F][02468aceACE](?::[0-9a-fA-F]{2}){5}$/,
      'a MAC address is 02:42:ac:11:00:02, its first octet even',
    )
    .optional()
    .describe('MAC address of its interface'),
  aliases: z
    .array(
      z.strictObject({
        name: identifier,
        network: networkName.optional().describe('the one in which it is called so; all of its networks without it'),
      }),
    )
    .min(1)
    .max(64)
    .optional()
    .describe('names that others in its networks know it by, besides its own'),
  ports: z.array(publishedPort).min(1).max(1024).optional().describe('ports of the host that lead to it'),
  dns: z.array(address).min(1).max(8).optional().describe("name servers, instead of the network's or the host's"),
  dnsSearch: z.array(hostname).min(1).max(32).optional().describe('domains in which short names are looked for'),
  extraHosts: z
    .array(z.strictObject({ name: hostname, address: z.union([address, z.literal('host-gateway')]) }))
    .min(1)
    .max(256)
    .optional()
    .describe('lines for /etc/hosts; host-gateway is the gateway of its first network'),
}

export type NetworkOptions = { [Key in keyof typeof networkOptions]?: z.output<(typeof networkOptions)[Key]> }

/** What does not go together, once it is known which network is meant. */
export function networkConflict(options: NetworkOptions): { field: string; message: string } | undefined {
  const { network = 'none', moreNetworks, ip, ip6, mac, aliases, ports, dns, dnsSearch, extraHosts } = options
  const names = networksOf(options)
  if (names.length === 0) {
    const given = Object.entries({ moreNetworks, ip, ip6, mac, aliases, ports }).find(
      ([, value]) => value !== undefined,
    )
    if (given)
      return { field: given[0], message: `${given[0]} needs a network with a name, and the network is ${network}` }
    if (networkMode(network)?.kind === 'container' && (dns ?? dnsSearch ?? extraHosts)) {
      return {
        field: 'network',
        message: `${network} brings its own resolv.conf and hosts: no dns, dnsSearch or extraHosts`,
      }
    }
    return undefined
  }
  const twice = names.find((name, at) => names.indexOf(name) !== at)
  if (twice !== undefined) return { field: 'moreNetworks', message: `network ${twice} is named twice` }
  const elsewhere = aliases?.find(({ network }) => network !== undefined && !names.includes(network))
  if (elsewhere) {
    return {
      field: 'aliases',
      message: `it is to be called ${elsewhere.name} in network ${elsewhere.network}, and is not in it`,
    }
  }
  const [field, own] = Object.entries({ ip, ip6, mac }).find(([, value]) => value !== undefined) ?? []
  if (field !== undefined && names.length > 1) {
    return { field, message: `${own} can be given with one network only, not with ${names.length}` }
  }
  const inward = ports?.find(({ hostIp }) => hostIp === '::1')
  if (inward) {
    const message = `port ${inward.containerPort} cannot be published on [::1]: the kernel lets no packet of ::1 out of loopback, as it does of 127.0.0.1`
    return { field: 'ports', message }
  }
  const sockets = (ports ?? []).flatMap(({ hostIp = '', hostPort, hostPortMax, protocol }) =>
    hostPort === undefined || hostPortMax !== undefined ? [] : [`${hostIp}:${hostPort}/${protocol}`],
  )
  const same = sockets.find((socket, at) => sockets.indexOf(socket) !== at)
  return same === undefined
    ? undefined
    : { field: 'ports', message: `port ${same.replace(/^:/, '')} is published twice` }
}
