import { isIP } from 'node:net'
import { PurserError } from '../../model/errors.ts'
import { networkMode } from '../../oci/spec/network-mode.ts'
import type { FlagsOf, OptionSpecs } from '../line/verb.ts'
import { publishedPorts } from './publish.ts'

/** What `run`, `create` and `pool create` say of a container's network. */
export const networkOptions = {
  net: { value: 'network', many: true, parse: network, completes: 'network-mode', help: 'the same as --network' },
  network: {
    value: 'network',
    many: true,
    parse: network,
    completes: 'network-mode',
    help: 'none (the default), host, container:NAME or the name of a network',
  },
  ip: { value: 'address', parse: address, help: 'its address in the network' },
  ip6: { value: 'address', parse: address, help: 'its IPv6 address in the network' },
  'network-alias': {
    value: 'name',
    many: true,
    help: 'name that others in its networks know it by, besides its own',
  },
  'mac-address': { value: 'mac', help: 'MAC address of its interface' },
  publish: {
    short: 'p',
    value: '[[ip:][host]:]container[/proto]',
    many: true,
    parse: publishedPorts,
    help: 'a port of the host, or a range, that leads to one of the container; a free one where none is named',
  },
  dns: { value: 'address', many: true, parse: address, help: 'name server' },
  'dns-search': { value: 'domain', many: true, help: 'domain in which short names are looked for' },
  'add-host': { value: 'name:address', many: true, parse: extraHost, help: 'a line for /etc/hosts' },
} as const satisfies OptionSpecs

export function networkPayload(flags: FlagsOf<typeof networkOptions>) {
  const [first, ...more] = [...flags.net, ...flags.network]
  const odd = more.length === 0 ? undefined : [first ?? '', ...more].find((each) => networkMode(each)?.kind !== 'named')
  if (odd !== undefined) {
    throw new PurserError('invalid_argument', `--network ${odd} cannot be had together with another network`, {
      remedy: 'give it alone, or networks that have names',
      field: 'network',
    })
  }
  return {
    network: first,
    ...(more.length === 0 ? {} : { moreNetworks: more }),
    ip: flags.ip,
    ip6: flags.ip6,
    mac: flags['mac-address'],
    ...ifAny(
      'aliases',
      flags['network-alias'].map((name) => ({ name })),
    ),
    ...ifAny('ports', flags.publish.flat()),
    ...ifAny('dns', flags.dns),
    ...ifAny('dnsSearch', flags['dns-search']),
    ...ifAny('extraHosts', flags['add-host']),
  }
}

const ifAny = <K extends string, T>(key: K, values: T[]): { [Key in K]?: T[] } =>
  values.length === 0 ? {} : ({ [key]: values } as { [Key in K]?: T[] })

function network(text: string): string {
  if (networkMode(text) !== undefined) return text
  throw new PurserError('invalid_argument', `${JSON.stringify(text)} is no network`, {
    remedy: 'write none, host, container:NAME or the name of a network',
  })
}

export function address(text: string): string {
  if (isIP(text) !== 0) return text
  throw new PurserError('invalid_argument', `${JSON.stringify(text)} is no IP address`, { remedy: 'write 10.89.0.7' })
}

function extraHost(text: string): { name: string; address: string } {
  const at = text.search(/[:=]/)
  const [name, given] = [text.slice(0, Math.max(at, 0)), text.slice(at + 1).replace(/^\[(.*)\]$/, '$1')]
  if (name !== '' && (given === 'host-gateway' || isIP(given) !== 0)) return { name, address: given }
  throw new PurserError('invalid_argument', `${JSON.stringify(text)} is no line for /etc/hosts`, {
    remedy: 'write NAME:ADDRESS, or NAME:host-gateway',
  })
}
