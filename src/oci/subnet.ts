import { isIPv4, isIPv6, SocketAddress } from 'node:net'

type Family = 4 | 6

interface Address {
  family: Family
  value: bigint
}

/** `base` is its first address as a number. */
export interface Subnet {
  family: Family
  base: bigint
  prefix: number
}

const BITS = { 4: 32, 6: 128 } as const

/** @returns undefined for what is no IP address, or one with a zone */
function parseAddress(text: string): Address | undefined {
  if (isIPv4(text)) return { family: 4, value: text.split('.').reduce((sum, part) => sum * 256n + BigInt(part), 0n) }
  if (!isIPv6(text) || text.includes('%')) return undefined
  const hex = text.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...parts) => {
    const [a = 0, b = 0, c = 0, d = 0] = parts.map(Number)
    return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`
  })
  const [before = [], after = []] = hex.split('::').map((part) => part.split(':').filter(Boolean))
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => '0')
  const value = [...before, ...zeros, ...after].reduce((sum, group) => sum * 65_536n + BigInt(`0x${group}`), 0n)
  return { family: 6, value }
}

function formatAddress({ family, value }: Address): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) % 256n).join('.')
  const groups = Array.from({ length: 8 }, (_, at) => ((value >> BigInt(112 - 16 * at)) % 65_536n).toString(16))
  return new SocketAddress({ address: groups.join(':'), family: 'ipv6' }).address
}

const sizeOf = ({ family, prefix }: Pick<Subnet, 'family' | 'prefix'>): bigint => 2n ** BigInt(BITS[family] - prefix)

/** @returns undefined for what is no `address/prefix`, or has bits set beyond its prefix */
export function parseSubnet(text: string): Subnet | undefined {
  const [written = '', length = '', ...more] = text.split('/')
  const address = parseAddress(written)
  const prefix = Number(length)
  if (address === undefined || more.length > 0 || !/^\d{1,3}$/.test(length) || prefix > BITS[address.family])
    return undefined
  const { family, value: base } = address
  return base % sizeOf({ family, prefix }) === 0n ? { family, base, prefix } : undefined
}

export const formatSubnet = ({ family, base, prefix }: Subnet): string =>
  `${formatAddress({ family, value: base })}/${prefix}`

/** The subnet that an address with a prefix is of: `10.1.2.3/24` is of `10.1.2.0/24`. */
export function subnetAround(text: string, prefix: number): Subnet | undefined {
  const address = parseAddress(text)
  if (address === undefined) return undefined
  const { family, value } = address
  return { family, base: value - (value % sizeOf({ family, prefix })), prefix }
}

export const overlap = (a: Subnet, b: Subnet): boolean =>
  a.family === b.family && a.base < b.base + sizeOf(b) && b.base < a.base + sizeOf(a)

/** Whether a machine may have it: in the subnet, neither its own address nor, of IPv4, its broadcast. */
export function isHostOf(text: string, subnet: Subnet): boolean {
  const address = parseAddress(text)
  const last = subnet.base + sizeOf(subnet) - (subnet.family === 4 ? 2n : 1n)
  return address?.family === subnet.family && address.value > subnet.base && address.value <= last
}

export const firstHost = ({ family, base }: Subnet): string => formatAddress({ family, value: base + 1n })

const POOL: Subnet = { family: 4, base: 10n * 2n ** 24n + 89n * 2n ** 16n, prefix: 16 }

/** The first /24 of 10.89.0.0/16 that overlaps with none of these; undefined when there is none. */
export const freeSubnet = (taken: readonly Subnet[]): Subnet | undefined => firstFree(POOL, 24, taken)

/**
 * The first /64 of a unique local prefix that overlaps with none of these; undefined when there is none.
 *
 * @param globalId 40 bits that no other site has, as far as chance goes
 * @see RFC 4193 section 3.1
 */
export const freeLocalSubnet = (globalId: bigint, taken: readonly Subnet[]): Subnet | undefined =>
  firstFree({ family: 6, base: (0xfdn << 120n) + (globalId << 80n), prefix: 48 }, 64, taken)

function firstFree(pool: Subnet, prefix: number, taken: readonly Subnet[]): Subnet | undefined {
  const { family } = pool
  const inPool = taken.filter((each) => overlap(each, pool))
  for (let { base } = pool; base < pool.base + sizeOf(pool); base += sizeOf({ family, prefix })) {
    const subnet = { family, base, prefix }
    if (!inPool.some((each) => overlap(each, subnet))) return subnet
  }
  return undefined
}
