import { readFileSync } from 'node:fs'
import { isIPv4, isIPv6 } from 'node:net'

/** What `/etc/resolv.conf`, `/etc/hosts` and `/etc/hostname` of a container are made from. */
export interface Names {
  hostname: string
  /** Addresses of the container, without a prefix; the first is what its hostname stands for. */
  addresses: readonly string[]
  gateway?: string | undefined
  extraHosts: readonly { name: string; address: string }[]
  /** Where empty, those of the host. */
  nameservers: readonly string[]
  search: readonly string[]
}

export function nameFiles(names: Names): Record<'hostname' | 'hosts' | 'resolv.conf', string> {
  return { hostname: `${names.hostname}\n`, hosts: hostsText(names), 'resolv.conf': resolvText(names) }
}

function hostsText({ hostname, addresses, gateway, extraHosts }: Names): string {
  const short = hostname.split('.')[0] ?? hostname
  const own = short === hostname ? hostname : `${hostname} ${short}`
  return [
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'ff02::1\tip6-allnodes',
    'ff02::2\tip6-allrouters',
    ...addresses.map((address) => `${address}\t${own}`),
    ...extraHosts.flatMap(({ name, address }) => {
      const at = address === 'host-gateway' ? gateway : address
      return at === undefined ? [] : [`${at}\t${name}`]
    }),
    '',
  ].join('\n')
}

/** systemd's stub listens on a loopback address; this file names the servers behind it. */
const BEHIND_STUB = '/run/systemd/resolve/resolv.conf'

function resolvText({ nameservers, search, addresses }: Names): string {
  const host = hostResolver()
  const reachable = host.nameservers.filter((server) => isReachable(server, addresses))
  const servers = nameservers.length > 0 ? nameservers : reachable
  const domains = search.length > 0 ? search : host.search
  return [
    ...servers.map((server) => `nameserver ${server}`),
    ...(domains.length === 0 ? [] : [`search ${domains.join(' ')}`]),
    ...host.options.map((option) => `options ${option}`),
    '',
  ].join('\n')
}

/** From a network of IPv4 alone no server of IPv6 is, and from none that of a link of the host, `fe80::1%eth0`. */
function isReachable(server: string, addresses: readonly string[]): boolean {
  if (addresses.length === 0 || isIPv4(server)) return true // On the host's network all are.
  return !server.includes('%') && addresses.some(isIPv6)
}

/** What the host resolves names with, as far as a container can reach it. */
function hostResolver() {
  const own = parseResolv(textOf('/etc/resolv.conf'))
  return own.nameservers.length > 0 ? own : { ...own, nameservers: parseResolv(textOf(BEHIND_STUB)).nameservers }
}

function parseResolv(text: string): { nameservers: string[]; search: string[]; options: string[] } {
  const words = text.split('\n').map((line) => line.trim().split(/\s+/))
  const of = (key: string) => words.filter(([first]) => first === key).map(([, ...rest]) => rest)
  return {
    nameservers: of('nameserver')
      .flatMap(([server = '']) => server)
      .filter((server) => server !== '' && !isLoopback(server)),
    search: of('search').at(-1) ?? [],
    options: of('options').flat(),
  }
}

const isLoopback = (address: string): boolean => address.startsWith('127.') || address === '::1'

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
