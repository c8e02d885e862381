import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { type Subnet, subnetAround } from '../oci/subnet.ts'
import type { Conflist } from './conflist.ts'
import { runTool } from './netns.ts'

/** An interface has 15 characters at most; two daemons on one machine do not meet in one. */
export const bridgeName = (state: string, namespace: string, name: string): string =>
  `pr-${createHash('sha256').update(`${state}\0${namespace}\0${name}`).digest('hex').slice(0, 12)}`

/** Subnets that interfaces of the host are in. */
export function hostSubnets(): Subnet[] {
  const addresses = Object.values(networkInterfaces()).flatMap((each) => each ?? [])
  return addresses.flatMap(({ family, address, cidr }) => {
    const subnet = family === 'IPv4' && cidr !== null ? subnetAround(address, Number(cidr.split('/')[1])) : undefined
    return subnet ? [subnet] : []
  })
}

export interface BridgeSettings {
  namespace: string
  name: string
  bridge: string
  subnet: string
  gateway: string
  internal: boolean
  /** Whether the way out of a container leads through this one of its networks. */
  isDefaultRoute: boolean
}

/** The network as CNI's own plugins make it. @param ipamDir where host-local keeps which address is whose */
export function bridgeConflist(settings: BridgeSettings, ipamDir: string, pluginDirs: readonly string[]): Conflist {
  const { namespace, name, bridge, subnet, gateway, internal, isDefaultRoute } = settings
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
          ranges: [[{ subnet, gateway }]],
          routes: internal || !isDefaultRoute ? [] : [{ dst: '0.0.0.0/0' }],
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

/** Removes the interface of a network that nobody is in; fine when it never came to be. */
export async function removeBridge(bridge: string, signal: AbortSignal): Promise<void> {
  // Of our own network namespace, which /sys need not show.
  const interfaces = readFileSync('/proc/self/net/dev', 'utf8')
  if (!interfaces.split('\n').some((line) => line.trim().startsWith(`${bridge}:`))) return
  await runTool('ip', ['link', 'delete', bridge, 'type', 'bridge'], signal)
}
