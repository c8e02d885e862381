import { totalmem } from 'node:os'
import type { ContainerUsage } from '../../model/container-usage.ts'
import type { Pressure } from '../../model/pressure.ts'
import { humanSize } from '../terminal/output.ts'

/** A line of `docker stats --format json`, and what docker does not tell. */
export interface StatsRow {
  BlockIO: string
  CPUPerc: string
  Container: string
  ID: string
  MemPerc: string
  MemUsage: string
  Name: string
  NetIO: string
  PIDs: string
  Pressure?: Pressure
}

/** @param before an earlier reading, that the share of a CPU is counted from */
export function rowOf(
  names: { id: string; name: string },
  usage: ContainerUsage,
  before: ContainerUsage | undefined,
): StatsRow {
  const limitBytes = usage.memoryLimitBytes ?? totalmem()
  return {
    BlockIO: `${humanSize(usage.readBytes)} / ${humanSize(usage.writtenBytes)}`,
    CPUPerc: `${cpuPercent(usage, before).toFixed(2)}%`,
    Container: names.id,
    ID: names.id,
    MemPerc: `${((100 * usage.memoryWorkingSetBytes) / limitBytes).toFixed(2)}%`,
    MemUsage: `${binarySize(usage.memoryWorkingSetBytes)} / ${binarySize(limitBytes)}`,
    Name: names.name,
    NetIO: `${humanSize(usage.receivedBytes)} / ${humanSize(usage.sentBytes)}`,
    PIDs: String(usage.pids),
    ...(usage.pressure === undefined ? {} : { Pressure: usage.pressure }),
  }
}

/** Of one CPU: two busy ones are 200. */
function cpuPercent(usage: ContainerUsage, before: ContainerUsage | undefined): number {
  const elapsedMs = before === undefined ? 0 : Date.parse(usage.time) - Date.parse(before.time)
  if (before === undefined || elapsedMs <= 0) return 0
  return Math.max(0, (usage.cpuNs - before.cpuNs) / 1e6 / elapsedMs) * 100
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

/** As docker shows memory: powers of 1024, four digits. */
function binarySize(bytes: number): string {
  let value = bytes
  let unit = 0
  for (; value >= 1024 && unit < UNITS.length - 1; unit++) value /= 1024
  return `${Number(value.toPrecision(4))}${UNITS[unit]}`
}
