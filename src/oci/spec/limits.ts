import { z } from 'zod'
import type { Resources } from './schema.ts'

/** Lists as the kernel has them: `0-3,8`. @see cpuset(7), "List format" */
const cpuList = z
  .string()
  .max(1024)
  .regex(/^\d{1,5}(?:-\d{1,5})?(?:,\d{1,5}(?:-\d{1,5})?)*$/, 'a list is 0-3,8')

/** Limits that can be changed while a container runs, besides the common ones. */
export const moreLimits = {
  memorySwapBytes: z
    .int()
    .min(-1)
    .optional()
    .describe('limit of memory and swap together, in bytes; -1 is unlimited swap'),
  memoryReservationBytes: z.int().min(1).optional().describe('what it is brought back to while memory is short'),
  cpuQuotaUs: z.int().min(1000).optional().describe('CPU time in each period, in microseconds; cpus says both at once'),
  cpuPeriodUs: z.int().min(1000).max(1_000_000).optional().describe('that period; 100000 by default'),
  cpusetCpus: cpuList.optional().describe('CPUs that it may run on: 0-3,8'),
  cpusetMems: cpuList.optional().describe('NUMA nodes whose memory it may use'),
  blkioWeight: z.int().min(10).max(1000).optional().describe('share of disks while they are busy; 500 is usual'),
}

const rates = (what: string) =>
  z
    .array(z.strictObject({ device: z.string().max(4095).startsWith('/'), rate: z.int().min(1) }))
    .min(1)
    .max(64)
    .optional()
    .describe(what)

export const ioLimits = z
  .strictObject({
    readBps: rates('bytes read of a device in a second'),
    writeBps: rates('bytes written to it'),
    readIops: rates('operations that read of it'),
    writeIops: rates('operations that write to it'),
  })
  .describe('how much of a block device it may use, by its path on the host')

export const hugepages = z
  .array(
    z.strictObject({
      pageSize: z.string().regex(/^\d{1,4}[KMG]B$/, 'a page size is 2MB or 1GB'),
      limitBytes: z.int().nonnegative(),
    }),
  )
  .min(1)
  .max(16)
  .refine((all) => new Set(all.map(({ pageSize }) => pageSize)).size === all.length, 'a page size is given twice')
  .describe('how much it may have in huge pages')

export type ResourceLimits = { [Key in keyof typeof moreLimits]?: z.output<(typeof moreLimits)[Key]> } & {
  memoryBytes?: number | undefined
  cpus?: number | undefined
  cpuShares?: number | undefined
  pidsLimit?: number | undefined
}

/** The period that a CPU quota is measured against, in microseconds; the kernel's own default. */
const CPU_PERIOD_US = 100_000

/** What does not go together. */
export function resourceConflict(limits: ResourceLimits): { field: string; message: string } | undefined {
  const { memoryBytes, memorySwapBytes, memoryReservationBytes, cpus, cpuQuotaUs, cpuPeriodUs } = limits
  const conflict = (field: string, message: string) => ({ field: `resources.${field}`, message })
  if (cpus !== undefined && (cpuQuotaUs ?? cpuPeriodUs) !== undefined) {
    return conflict('cpus', 'it is a quota and a period already: give either cpus, or cpuQuotaUs and cpuPeriodUs')
  }
  if (memorySwapBytes !== undefined && memorySwapBytes !== -1) {
    if (memoryBytes === undefined) return conflict('memorySwapBytes', 'it needs memoryBytes, which it includes')
    if (memorySwapBytes < memoryBytes) {
      return conflict('memorySwapBytes', `it includes memoryBytes, and ${memorySwapBytes} is less than ${memoryBytes}`)
    }
  }
  if (memoryBytes !== undefined && memoryReservationBytes !== undefined && memoryReservationBytes > memoryBytes) {
    return conflict('memoryReservationBytes', `${memoryReservationBytes} is more than memoryBytes, ${memoryBytes}`)
  }
  return undefined
}

/**
 * Limits in the runtime's terms. Swap is set only when it is asked for: hosts without swap accounting refuse it.
 *
 * @see runtime-spec, config-linux.md, "Control groups"
 */
export function limitsOf(limits: ResourceLimits): Omit<Resources, 'devices'> {
  const { memoryBytes, memorySwapBytes, memoryReservationBytes, cpus, cpuShares, pidsLimit, blkioWeight } = limits
  const memory = given({ limit: memoryBytes, swap: memorySwapBytes, reservation: memoryReservationBytes })
  const cpu = given({
    shares: cpuShares,
    quota: cpus === undefined ? limits.cpuQuotaUs : Math.round(cpus * CPU_PERIOD_US),
    period: cpus === undefined ? limits.cpuPeriodUs : CPU_PERIOD_US,
    cpus: limits.cpusetCpus,
    mems: limits.cpusetMems,
  })
  return {
    ...(memory === undefined ? {} : { memory }),
    ...(cpu === undefined ? {} : { cpu }),
    ...(pidsLimit === undefined ? {} : { pids: { limit: pidsLimit } }),
    ...(blkioWeight === undefined ? {} : { blockIO: { weight: blkioWeight } }),
  }
}

/** The entries that have a value; undefined when none has. */
function given<T extends Record<string, unknown>>(all: T): { [K in keyof T]?: Exclude<T[K], undefined> } | undefined {
  const entries = Object.entries(all).filter(([, value]) => value !== undefined)
  return entries.length === 0
    ? undefined
    : (Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> })
}
