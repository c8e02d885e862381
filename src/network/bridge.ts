import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { endianness, networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { PurserError } from '../model/errors.ts'
import { type Subnet, subnetAround } from '../oci/subnet.ts'
import type { Conflist } from './conflist.ts'
import { runTool } from './netns.ts'

/** An interface has 15 characters at most; two daemons on one machine do not meet in one. */
export const bridgeName = (state: string, namespace: string, name: string): string =>
  `pr-${createHash('sha256').update(`${state}\0${namespace}\0${name}`).digest('hex').slice(0, 12)}`

/** Subnets that interfaces of the host are in, those without a carrier too: a bridge has none while nothing runs on it. */
export function hostSubnets(): Subnet[] {
  return [...subnetsOfAddresses(), ...connectedSubnets(readFileSync('/proc/self/net/route', 'utf8'))]
}

/** Node leaves out interfaces without a carrier. */
function subnetsOfAddresses(): Subnet[] {
  const addresses = Object.values(networkInterfaces()).flatMap((each) => each ?? [])
  return addresses.flatMap(({ address, cidr }) => {
    const subnet = cidr === null ? undefined : subnetAround(address, Number(cidr.split('/')[1]))
    return subnet ? [subnet] : []
  })
}

/**
 * Subnets that can be reached without a gateway.
 *
 * @param table the kernel's routes of IPv4
 * @see proc_net(5), /proc/net/route
 */
export function connectedSubnets(table: string): Subnet[] {
  const routes = table.trim().split('\n').slice(1)
  return routes.flatMap((route) => {
    const [, destination = '', gateway = '', , , , , mask = ''] = route.split('\t')
    const prefix = bytesOf(mask).reduce((bits, byte) => bits + byte.toString(2).replaceAll('0', '').length, 0)
    if (prefix === 0 || !/^0+$/.test(gateway)) return []
    const subnet = subnetAround(bytesOf(destination).join('.'), prefix)
    return subnet ? [subnet] : []
  })
}

/** Of an address that the kernel prints as a number of this machine. */
function bytesOf(hex: string): number[] {
  const bytes = [...Buffer.from(hex, 'hex')]
  return endianness() === 'LE' ? bytes.reverse() : bytes
}

/** 40 bits for a unique local prefix of IPv6: those of its bridge, which no other network has. */
export const globalIdOf = (bridge: string): bigint => BigInt(`0x${bridge.slice('pr-'.length, 'pr-'.length + 10)}`)

/**
 * Whether containers can have IPv6 here, and a way out of their network.
 *
 * @throws PurserError failed_precondition saying what is missing
 */
export async function requireIpv6(internal: boolean, signal: AbortSignal): Promise<void> {
  const off = ipv6Off()
  if (off !== undefined) {
    throw new PurserError('failed_precondition', `this host has no IPv6: ${off}`, {
      remedy: 'make the network without --ipv6',
      field: 'ipv6',
    })
  }
  // Private addresses are masqueraded; without a way out nothing is.
  if (!internal) await runTool('ip6tables', ['--wait', '--table', 'nat', '--list-rules', 'POSTROUTING'], signal)
}

function ipv6Off(): string | undefined {
  if (!existsSync('/proc/self/net/if_inet6')) return 'the kernel was built or started without it'
  const isOff = readFileSync('/proc/sys/net/ipv6/conf/default/disable_ipv6', 'utf8').trim() !== '0'
  return isOff ? 'net.ipv6.conf.default.disable_ipv6 is set' : undefined
}

export interface BridgeSettings {
  namespace: string
  name: string
  bridge: string
  subnet: string
  gateway: string
  subnet6?: string | undefined
  gateway6?: string | undefined
  internal: boolean
  /** Whether the way out of a container leads through this one of its networks. */
  isDefaultRoute: boolean
}

/** The network as CNI's own plugins make it. @param ipamDir where host-local keeps which address is whose */
export function bridgeConflist(settings: BridgeSettings, ipamDir: string, pluginDirs: readonly string[]): Conflist {
  const { namespace, name, bridge, subnet, gateway, subnet6, gateway6, internal, isDefaultRoute } = settings
  const hasIpv6 = subnet6 !== undefined
  const isThere = (type: string) => pluginDirs.some((dir) => existsSync(join(dir, type)))
  return {
    cniVersion: '1.0.0',
    name: `${namespace}__${name}`,
    disableCheck: false,
    plugins: [
      {
        type: 'bridge',
        bridge,
        isGateway: true,
        ipMasq: !internal,
        hairpinMode: true,
        capabilities: { mac: true, ips: true },
        ipam: {
          type: 'host-local',
          dataDir: ipamDir,
          ranges: [[{ subnet, gateway }], ...(hasIpv6 ? [[{ subnet: subnet6, gateway: gateway6 }]] : [])],
          routes: internal || !isDefaultRoute ? [] : [{ dst: '0.0.0.0/0' }, ...(hasIpv6 ? [{ dst: '::/0' }] : [])],
        },
      },
      ...(internal || !isThere('portmap')
        ? []
        : [{ type: 'portmap', capabilities: { portMappings: true }, snat: true }]),
      // Where forwarding is refused unless a rule allows it.
      ...(internal || !isThere('firewall') ? [] : [{ type: 'firewall' }]),
    ],
  }
}

/**
 * Makes the interface of a network with IPv6, whose addresses count at once. Where the plugin makes it, they are tentative for a
 * second or two, and a connection from the host that is begun meanwhile has `::1` as its source, and never an answer.
 */
export async function prepareBridge(bridge: string, signal: AbortSignal): Promise<void> {
  if (hasInterface(bridge)) return
  try {
    await runTool('ip', ['link', 'add', 'name', bridge, 'type', 'bridge'], signal)
  } catch (error) {
    if (!hasInterface(bridge)) throw error // Another container of the network was first.
  }
  // Nobody else can have an address of a network that is made just now.
  writeFileSync(`/proc/sys/net/ipv6/conf/${bridge}/accept_dad`, '0')
}

/** Removes the interface of a network that nobody is in; fine when it never came to be. */
export async function removeBridge(bridge: string, signal: AbortSignal): Promise<void> {
  if (hasInterface(bridge)) await runTool('ip', ['link', 'delete', bridge, 'type', 'bridge'], signal)
}

function hasInterface(name: string): boolean {
  // Of our own network namespace, which /sys need not show.
  const interfaces = readFileSync('/proc/self/net/dev', 'utf8')
  return interfaces.split('\n').some((line) => line.trim().startsWith(`${name}:`))
}
