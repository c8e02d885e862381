import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { isIP, SocketAddress } from 'node:net'

export interface BoundPort {
  /** Undefined when it is bound on all addresses, of both families. */
  address?: string
  port: number
  /** Of its socket; 0 where the kernel does not tell. */
  inode: number
}

type Protocol = 'tcp' | 'udp' | 'sctp'

/** Of sockets that wait for whoever comes: TCP's LISTEN, and UDP's without a peer. @see proc_net_tcp, "st" */
const WAITS = { tcp: '0A', udp: '07' }

/** Ports of this network namespace that programs wait on. */
export function boundPorts(protocol: Protocol): BoundPort[] {
  if (protocol === 'sctp') return linesOf('/proc/self/net/sctp/eps').flatMap(sctpEndpoint)
  return ['', '6'].flatMap((family) =>
    linesOf(`/proc/self/net/${protocol}${family}`).flatMap((line): BoundPort[] => {
      const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/)
      const [address = '', port = ''] = local.split(':')
      if (state !== WAITS[protocol]) return []
      return [{ ...at(addressOf(address)), port: Number.parseInt(port, 16), inode: Number(inode) }]
    }),
  )
}

/** `ENDPT SOCK STY SST HBKT LPORT UID INODE LADDRS…` */
function sctpEndpoint(line: string): BoundPort[] {
  const [, , , , , port, , inode, ...addresses] = line.trim().split(/\s+/)
  return addresses.map((address) => ({ ...at(address), port: Number(port), inode: Number(inode) }))
}

const at = (address: string): { address?: string } => (address === '::' ? {} : { address })

/** Words of 32 bits, each with its last byte first. */
function addressOf(hex: string): string {
  const bytes = (hex.match(/.{8}/g) ?? []).flatMap((word) => (word.match(/../g) ?? []).reverse())
  if (bytes.length === 4) return bytes.map((byte) => Number.parseInt(byte, 16)).join('.')
  return canonicalAddress((bytes.join('').match(/.{4}/g) ?? []).join(':'))
}

/** One text for one address: an IPv6 address in its short form, and one that stands for an IPv4 address as that. */
export function canonicalAddress(text: string): string {
  if (isIP(text) !== 6) return text
  const { address } = new SocketAddress({ address: text, family: 'ipv6' })
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(address)?.[1] ?? address
}

function linesOf(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n').slice(1).filter(Boolean)
  } catch {
    return [] // The kernel knows no such protocol: nobody has a port of it.
  }
}

/** A process that has a socket open; undefined when none can be seen. */
export function processWithSocket(inode: number): { pid: number; command: string } | undefined {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const descriptors = readdirSync(`/proc/${pid}/fd`)
      if (!descriptors.some((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`) === `socket:[${inode}]`)) continue
      return { pid: Number(pid), command: readFileSync(`/proc/${pid}/comm`, 'utf8').trim() }
    } catch {
      // It has ended, or may not be looked at.
    }
  }
  return undefined
}
