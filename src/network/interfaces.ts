import type { Attachment } from './cni.ts'

/** An interface of a container, as the log tells it. */
export interface Interface {
  network: string
  name: string
  mac?: string
  /** With their prefix: `10.89.0.2/24`. */
  addresses: string[]
  gateway?: string
}

export const interfacesOf = (attachments: readonly Attachment[]): Interface[] =>
  attachments.map(({ network, ifName, result }) => {
    const { interfaces = [], ips = [] } = result ?? {}
    // That of the same name on the host is another one: ours has a sandbox.
    const at = interfaces.findIndex(({ name, sandbox }) => name === ifName && sandbox !== undefined && sandbox !== '')
    const own = ips.filter((ip) => ip.interface === undefined || ip.interface === at)
    const mac = interfaces[at]?.mac
    const gateway = own.find((ip) => ip.gateway !== undefined)?.gateway
    return {
      network,
      name: ifName,
      ...(mac === undefined ? {} : { mac }),
      addresses: own.map(({ address }) => address),
      ...(gateway === undefined ? {} : { gateway }),
    }
  })
