import { z } from 'zod'

const ADDRESS = /^(?:(?:udp|tcp):\/\/(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}|unix(?:gram)?:\/\/\/.{1,100})$/

/** Where each driver can send. */
const SCHEMES: Readonly<Record<string, readonly string[]>> = {
  journald: ['unixgram'],
  syslog: ['udp', 'tcp', 'unix', 'unixgram'],
  fluentd: ['tcp', 'unix'],
}

/** What becomes of a container's output besides those who attach: the record holds what `container.run` was asked. */
export const logging = z
  .strictObject({
    driver: z
      .enum(['cri', 'none', 'journald', 'syslog', 'fluentd'])
      .optional()
      .describe('cri: kept here, and nothing else; none: not kept; the others: kept here, and sent from there'),
    maxBytes: z
      .int()
      .min(4096, 'a file of a log has 4096 bytes at least')
      .optional()
      .describe('of one file, before the next is begun'),
    files: z.int().min(1).max(1000, 'a log has 1000 files at most').optional().describe('that are kept'),
    bytesPerSecond: z.int().min(1).optional().describe('of output; what is more is dropped, and counted by events'),
    sendTo: z
      .string()
      .regex(ADDRESS, 'an address is udp://HOST:PORT, tcp://HOST:PORT, unix:///PATH or unixgram:///PATH')
      .optional()
      .describe('where the driver sends; its usual place by default'),
    tag: z
      .string()
      .regex(/^[!-~]{1,48}$/, 'a tag is 1 to 48 printable characters without spaces')
      .optional()
      .describe('what the driver calls the container; its id by default'),
    facility: z.int().min(0).max(23).optional().describe('of syslog; 3, daemon, by default'),
  })
  .refine(({ driver = '', sendTo }) => sendTo === undefined || SCHEMES[driver]?.includes(sendTo.split(':')[0] ?? ''), {
    path: ['sendTo'],
    message: 'the driver sends to no such address: journald to unixgram, syslog to any, fluentd to tcp or unix',
  })
export type Logging = z.output<typeof logging>
