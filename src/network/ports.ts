import { isIP } from 'node:net'
import { type BoundPort, boundPorts, canonicalAddress, processWithSocket } from '../host/bound-ports.ts'
import { PurserError } from '../model/errors.ts'
import type { MappedPort, PublishedPort } from '../oci/spec/published-port.ts'

/** Of those that are chosen: docker's, where the kernel says nothing else. */
const FREE = { first: 49_153, last: 65_535 }

/** A port that leads to a container, or is waited on by a program of the host. */
export interface TakenPort {
  address?: string | undefined
  port: number
  protocol: MappedPort['protocol']
  by: () => string
}

/** Chooses ports of the host for containers, where they leave that to us, and refuses those that are taken. */
export class PortChooser {
  /** The last that was chosen: one that was given back just now may still have packets under way. */
  #last = FREE.last

  /**
   * @param published that other containers have
   * @throws PurserError failed_precondition naming the port and who has it
   */
  choose(asked: readonly PublishedPort[], published: readonly TakenPort[]): MappedPort[] {
    const taken = [...published, ...takenOnHost(new Set(asked.map(({ protocol }) => protocol)))]
    const chosen = new Map<PublishedPort, MappedPort>()
    // Those that may be others give way to those that may not.
    for (const port of asked.toSorted((a, b) => candidates(a) - candidates(b))) {
      const mapped = this.#choose(port, taken)
      chosen.set(port, mapped)
      const by = () => 'this container'
      taken.push({ address: mapped.hostIp, port: mapped.hostPort, protocol: mapped.protocol, by })
    }
    return asked.flatMap((port) => chosen.get(port) ?? [])
  }

  #choose({ hostPortMax, ...asked }: PublishedPort, taken: readonly TakenPort[]): MappedPort {
    const holderOf = (hostPort: number) => taken.find((each) => collide({ ...asked, hostPort }, each))
    if (asked.hostPort === undefined) {
      const { hostPort: _, ...rest } = asked
      const hostPort = this.#nextFree((port) => holderOf(port) === undefined)
      if (hostPort === undefined) throw refused(`no port of ${FREE.first} to ${FREE.last} is free`, asked)
      return { ...rest, hostPort }
    }
    const { hostPort: first } = asked
    const last = hostPortMax ?? first
    for (let hostPort = first; hostPort <= last; hostPort++) {
      if (holderOf(hostPort) === undefined) return { ...asked, hostPort }
    }
    if (last > first) throw refused(`all ports of ${first}-${last} are taken`, asked)
    throw refused(`port ${first}/${asked.protocol} is ${holderOf(first)?.by()}`, asked)
  }

  #nextFree(isFree: (port: number) => boolean): number | undefined {
    const count = FREE.last - FREE.first + 1
    for (let step = 1; step <= count; step++) {
      const port = FREE.first + ((this.#last - FREE.first + step) % count)
      if (!isFree(port)) continue
      this.#last = port
      return port
    }
    return undefined
  }
}

const candidates = ({ hostPort, hostPortMax }: PublishedPort): number =>
  hostPort === undefined ? Number.POSITIVE_INFINITY : (hostPortMax ?? hostPort) - hostPort

const refused = (message: string, { hostIp }: PublishedPort): PurserError =>
  new PurserError('failed_precondition', hostIp === undefined ? message : `${message} (asked for on ${hostIp})`, {
    remedy: 'choose another port, or end what has it; without a port of the host, one that is free is chosen',
    field: 'ports',
  })

const takenOnHost = (protocols: ReadonlySet<MappedPort['protocol']>): TakenPort[] =>
  [...protocols].flatMap((protocol) =>
    boundPorts(protocol).map((bound) => ({ ...bound, protocol, by: () => heldOnHost(bound) })),
  )

function heldOnHost({ inode }: BoundPort): string {
  const holder = processWithSocket(inode)
  return `taken on the host${holder === undefined ? '' : ` by process ${holder.pid} (${holder.command})`}`
}

function collide({ hostIp, hostPort, protocol }: MappedPort, taken: TakenPort): boolean {
  if (hostPort !== taken.port || protocol !== taken.protocol) return false
  if (hostIp === undefined || taken.address === undefined) return true
  const [asked, has] = [canonicalAddress(hostIp), canonicalAddress(taken.address)]
  return isIP(asked) === isIP(has) && (asked === has || isAny(asked) || isAny(has))
}

const isAny = (address: string): boolean => address === '0.0.0.0' || address === '::'
