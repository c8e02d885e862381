import { type Refusal, refuse } from '../model/aggregate.ts'
import type { ContainerOptions } from '../oci/spec/container-options.ts'
import { networksOf } from '../oci/spec/network-mode.ts'

export function notConnectable(options: ContainerOptions, id: string, network: string): Refusal | undefined {
  const names = networksOf(options)
  if (names.length === 0) {
    return refuse(
      'failed_precondition',
      `container ${id} has the network ${options.network ?? 'none'}: only one that is in a network with a name can be taken into others`,
      'make it with --network NAME',
    )
  }
  if (!names.includes(network)) return undefined
  return refuse('already_exists', `container ${id} is in network ${network}`, `purser inspect ${id} shows its networks`)
}

export function notDisconnectable(options: ContainerOptions, id: string, network: string): Refusal | undefined {
  const names = networksOf(options)
  if (!names.includes(network)) {
    return refuse(
      'not_found',
      `container ${id} is not in network ${network}`,
      `purser inspect ${id} shows its networks`,
    )
  }
  if (names.length > 1) return undefined
  return refuse(
    'failed_precondition',
    `container ${id} is in no other network than ${network}`,
    `purser network connect NAME ${id} first`,
  )
}

/** @param aliases by which it is known there alone */
export function withNetwork(options: ContainerOptions, network: string, aliases: readonly string[]): ContainerOptions {
  const known = [...(options.aliases ?? []), ...aliases.map((name) => ({ name, network }))]
  return {
    ...options,
    moreNetworks: [...(options.moreNetworks ?? []), network],
    ...(known.length === 0 ? {} : { aliases: known }),
  }
}

/** Its address and its MAC address are of the first network, and go with it. */
export function withoutNetwork(options: ContainerOptions, network: string): ContainerOptions {
  const { moreNetworks: _, aliases: known = [], ip, ip6, mac, ...others } = options
  const [first = 'none', ...more] = networksOf(options).filter((name) => name !== network)
  const aliases = known.filter((alias) => alias.network !== network)
  return {
    ...others,
    network: first,
    ...(more.length === 0 ? {} : { moreNetworks: more }),
    ...(aliases.length === 0 ? {} : { aliases }),
    ...(ip === undefined || first !== options.network ? {} : { ip }),
    ...(ip6 === undefined || first !== options.network ? {} : { ip6 }),
    ...(mac === undefined || first !== options.network ? {} : { mac }),
  }
}
