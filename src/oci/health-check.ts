import { z } from 'zod'
import { HEALTH_ACTIONS } from './health-actions.ts'
import { nullable } from './json.ts'

const port = z.int().min(1).max(65_535)
const path = z.string().min(1).max(4096).startsWith('/')

/** Probes of a port that a container serves, in its own network. */
export const httpProbe = z
  .strictObject({ type: z.literal('http'), port, path: path.default('/') })
  .describe('answers 2xx or 3xx')
export const tcpProbe = z.strictObject({ type: z.literal('tcp'), port }).describe('takes a connection')

/** The kernel's MAX_ARG_STRLEN. */
const word = z.string().max(131_071)

const probe = z.discriminatedUnion('type', [
  z
    .strictObject({ type: z.literal('exec'), args: z.array(word).min(1).max(4096) })
    .describe('a program in the container that exits 0'),
  httpProbe,
  tcpProbe,
])
export type HealthProbe = z.output<typeof probe>

/** A day. */
const ms = z.int().min(1).max(86_400_000)
const retries = z.int().min(1).max(1_000_000)

/** How it is told whether a container is well. */
export const healthCheck = z.strictObject({
  probe,
  intervalMs: ms.describe('milliseconds from one probe to the next'),
  timeoutMs: ms.describe('milliseconds that a probe has'),
  retries: retries.describe('probes that fail one after the other before it is unhealthy'),
  startPeriodMs: z.int().min(0).max(86_400_000).describe('milliseconds at its start in which failures do not count'),
  startIntervalMs: ms.describe('milliseconds from one probe to the next in that time'),
  onFailure: z.enum(HEALTH_ACTIONS).optional().describe('what is done when it becomes unhealthy; none without it'),
})
export type HealthCheck = z.output<typeof healthCheck>

/** What a caller may ask of it: what is left out is the image's, or else the default. */
export const healthRequest = z.union([
  healthCheck.partial(),
  z.strictObject({ disabled: z.literal(true) }).describe("no check, also not the image's"),
])
export type HealthRequest = z.output<typeof healthRequest>

/** docker's. */
const DEFAULTS = { intervalMs: 30_000, timeoutMs: 30_000, retries: 3, startPeriodMs: 0, startIntervalMs: 5000 }

/** Go's `time.Duration`: nanoseconds, and 0 for what is not set. */
const nanoseconds = nullable(z.number(), 0).transform((ns) =>
  ns > 0 ? Math.min(Math.ceil(ns / 1e6), 86_400_000) : undefined,
)

/**
 * What an image says of it. The image specification does not know it; docker's images have it.
 *
 * @see Docker Image Specification v1.3, "Healthcheck"
 */
export const imageHealthcheck = z
  .object({
    Test: nullable(z.array(word), []),
    Interval: nanoseconds,
    Timeout: nanoseconds,
    StartPeriod: nanoseconds,
    StartInterval: nanoseconds,
    Retries: nullable(z.int(), 0),
  })
  .transform((given): HealthRequest => {
    const [kind, ...words] = given.Test
    if (kind === 'NONE') return { disabled: true }
    const args = kind === 'CMD-SHELL' ? shell(words[0] ?? '') : kind === 'CMD' && words.length > 0 ? words : undefined
    return withoutUndefined({
      probe: args === undefined ? undefined : { type: 'exec' as const, args },
      intervalMs: given.Interval,
      timeoutMs: given.Timeout,
      startPeriodMs: given.StartPeriod,
      startIntervalMs: given.StartInterval,
      retries: given.Retries > 0 ? Math.min(given.Retries, 1_000_000) : undefined,
    })
  })

/** A command line, for the container's own shell. */
export const shell = (line: string): string[] => ['/bin/sh', '-c', line]

/** @returns undefined where there is nothing to probe, or nobody wants it */
export function healthCheckOf(
  image: HealthRequest | undefined,
  asked: HealthRequest | undefined,
): HealthCheck | undefined {
  if (asked !== undefined && 'disabled' in asked) return undefined
  const ofImage = image === undefined || 'disabled' in image ? {} : image
  const check = { ...DEFAULTS, ...ofImage, ...asked }
  const { probe } = check
  return probe === undefined ? undefined : { ...check, probe }
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> }

const withoutUndefined = <T extends object>(of: T): Defined<T> =>
  Object.fromEntries(Object.entries(of).filter(([, value]) => value !== undefined)) as Defined<T>
