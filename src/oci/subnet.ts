import { isIPv4 } from 'node:net'

/** An IPv4 subnet; `base` is its first address as a number. */
export interface Subnet {
  base: number
  prefix: number
}

/** @returns undefined for what is no IPv4 address in dotted form */
export function parseAddress(text: string): number | undefined {
  if (!isIPv4(text)) return undefined
  return text.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
}

export const formatAddress = (address: number): string =>
  [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join('.')

const sizeOf = (prefix: number): number => 2 ** (32 - prefix)

/** @returns undefined for what is no `address/prefix`, or has bits set beyond its prefix */
export function parseSubnet(text: string): Subnet | undefined {
  const [address = '', length = '', ...more] = text.split('/')
  const base = parseAddress(address)
  if (base === undefined || more.length > 0 || !/^\d{1,2}$/.test(length)) return undefined
  const prefix = Number(length)
  return prefix <= 32 && base % sizeOf(prefix) === 0 ? { base, prefix } : undefined
}

export const formatSubnet = ({ base, prefix }: Subnet): string => `${formatAddress(base)}/${prefix}`

/** The subnet that an address with a prefix is of: `10.1.2.3/24` is of `10.1.2.0/24`. */
export function subnetAround(address: string, prefix: number): Subnet | undefined {
  const at = parseAddress(address)
  return at === undefined ? undefined : { base: at - (at % sizeOf(prefix)), prefix }
}

export const overlap = (a: Subnet, b: Subnet): boolean =>
  a.base < b.base + sizeOf(b.prefix) && b.base < a.base + sizeOf(a.prefix)

/** Whether a machine may have it: in the subnet, neither its own address nor its broadcast. */
export function isHostOf(address: string, { base, prefix }: Subnet): boolean {
  const at = parseAddress(address)
  return at !== undefined && at > base && at < base + sizeOf(prefix) - 1
}

export const firstHost = ({ base }: Subnet): string => formatAddress(base + 1)

const POOL: Subnet = { base: 10 * 2 ** 24 + 89 * 2 ** 16, prefix: 16 }

/** The first /24 of 10.89.0.0/16 that overlaps with none of these; undefined when there is none. */
export function freeSubnet(taken: readonly Subnet[]): Subnet | undefined {
  const inPool = taken.filter((each) => overlap(each, POOL))
  for (let base = POOL.base; base < POOL.base + sizeOf(POOL.prefix); base += sizeOf(24)) {
    const subnet = { base, prefix: 24 }
    if (!inPool.some((each) => overlap(each, subnet))) return subnet
  }
  return undefined
}
