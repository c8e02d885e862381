import { isIP } from 'node:net'
import { z } from 'zod'

export const address = z.string().refine((text) => isIP(text) !== 0, 'it is an IP address: 10.89.0.7')

const port = (what: string) => z.int().min(1, `${what} is 1 at least`).max(65_535, `${what} is 65535 at most`)

/** A port of the host that leads to one of the container. */
export const mappedPort = z.strictObject({
  hostIp: address.optional().describe('address of the host; all of them without it'),
  hostPort: port('hostPort'),
  containerPort: port('containerPort'),
  protocol: z.enum(['tcp', 'udp', 'sctp']).default('tcp'),
})
export type MappedPort = z.output<typeof mappedPort>

/** As a caller asks for it. */
export const publishedPort = mappedPort
  .extend({
    hostPort: port('hostPort').optional().describe('without it, one that is free, chosen at each start'),
    hostPortMax: port('hostPortMax').optional().describe('with it, the first that is free from hostPort to this one'),
  })
  .refine(
    ({ hostPort, hostPortMax }) => hostPortMax === undefined || (hostPort !== undefined && hostPort <= hostPortMax),
    { path: ['hostPortMax'], error: 'hostPortMax is the last of the ports that begin with hostPort' },
  )
export type PublishedPort = z.output<typeof publishedPort>
