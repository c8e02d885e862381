import type { MappedPort } from '../../oci/spec/published-port.ts'

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
