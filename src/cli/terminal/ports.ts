import type { ContainerView } from '../../client/index.ts'
import type { MappedPort } from '../../oci/spec/published-port.ts'

type Task = NonNullable<ContainerView['task']>

/** Ports that lead to a container; one of all addresses is told once for each family that the container has. */
export function leadingPorts({ ports = [], interfaces = [] }: Task): MappedPort[] {
  const hasIpv6 = interfaces.some(({ addresses }) => addresses.some((address) => address.includes(':')))
  const everywhere = ['0.0.0.0', ...(hasIpv6 ? ['::'] : [])]
  return ports.flatMap((port) => (port.hostIp === undefined ? everywhere.map((hostIp) => ({ ...port, hostIp })) : port))
}

export const hostAddress = (hostIp = '0.0.0.0'): string => (hostIp.includes(':') ? `[${hostIp}]` : hostIp)

/** As docker shows them: those that follow each other on both sides as a range. */
export function shownPorts(ports: readonly MappedPort[]): string {
  const ranges: { first: MappedPort; count: number }[] = []
  for (const port of ports.toSorted((a, b) => a.containerPort - b.containerPort)) {
    const range = ranges.find(({ first, count }) => isNext(first, count, port))
    if (range) range.count += 1
    else ranges.push({ first: port, count: 1 })
  }
  return ranges
    .map(({ first: { hostIp, hostPort, containerPort, protocol }, count }) => {
      const through = (port: number) => (count === 1 ? `${port}` : `${port}-${port + count - 1}`)
      return `${hostAddress(hostIp)}:${through(hostPort)}->${through(containerPort)}/${protocol}`
    })
    .join(', ')
}

const isNext = (first: MappedPort, count: number, port: MappedPort): boolean =>
  port.hostIp === first.hostIp &&
  port.protocol === first.protocol &&
  port.containerPort === first.containerPort + count &&
  port.hostPort === first.hostPort + count
