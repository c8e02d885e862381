import { isIP } from 'node:net'
import { PurserError } from '../../model/errors.ts'
import type { PublishedPort } from '../../oci/spec/published-port.ts'

const FORM =
  /^(?:(?:(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):)?(\d{1,5}(?:-\d{1,5})?)?:)?(\d{1,5}(?:-\d{1,5})?)(?:\/(tcp|udp|sctp))?$/i

interface Range {
  first: number
  last: number
}

/**
 * What `-p` asks for, in docker's words: `[[IP:][HOST]:]CONTAINER[/PROTOCOL]`, with a number or a range in both places. A range of the
 * host for one port of the container is one of which any will do.
 *
 * @throws PurserError invalid_argument for what is no such thing
 */
export function publishedPorts(text: string): PublishedPort[] {
  const [whole, v6, v4, hostText, containerText, protocolText = 'tcp'] = FORM.exec(text) ?? []
  const hostIp = v6 ?? v4
  const container = rangeOf(containerText)
  const host = rangeOf(hostText)
  if (whole === undefined || container === undefined || (hostText !== undefined && host === undefined))
    throw wrong(text)
  if (hostIp !== undefined && isIP(hostIp) === 0) throw wrong(text)
  const protocol = protocolOf(protocolText.toLowerCase())
  const where = hostIp === undefined ? {} : { hostIp }
  const count = sizeOf(container)
  if (host !== undefined && sizeOf(host) !== count && count > 1) {
    throw new PurserError(
      'invalid_argument',
      `${JSON.stringify(text)} publishes ${count} ports of the container as ${sizeOf(host)} of the host`,
      { remedy: 'give ranges of the same length, or one port of the container' },
    )
  }
  return Array.from({ length: count }, (_, at) => {
    const containerPort = container.first + at
    if (host === undefined) return { ...where, containerPort, protocol }
    const any = sizeOf(host) > count ? { hostPortMax: host.last } : {}
    return { ...where, hostPort: host.first + at, ...any, containerPort, protocol }
  })
}

const sizeOf = ({ first, last }: Range): number => last - first + 1

/** @returns undefined for what is none, or has no port in it */
function rangeOf(text: string | undefined): Range | undefined {
  const [first = 0, last = first] = (text ?? '').split('-').map(Number)
  return first >= 1 && first <= last && last <= 65_535 ? { first, last } : undefined
}

const protocolOf = (text: string): PublishedPort['protocol'] => (text === 'udp' || text === 'sctp' ? text : 'tcp')

const wrong = (text: string): PurserError =>
  new PurserError('invalid_argument', `${JSON.stringify(text)} publishes no port`, {
    remedy:
      'write [IP:]HOST:CONTAINER with /tcp, /udp or /sctp after it as needed, 127.0.0.1:8080:80/tcp; ranges, 8000-8010:80-90; or CONTAINER alone',
  })
