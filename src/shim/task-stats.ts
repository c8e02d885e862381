import { fromBinary, type JsonValue, toJson } from '@bufbuild/protobuf'
import { PurserError } from '../model/errors.ts'
import { type Metrics as MetricsV1, MetricsSchema as MetricsV1Schema } from './gen/metrics_v1_pb.ts'
import { type Metrics as MetricsV2, MetricsSchema as MetricsV2Schema } from './gen/metrics_v2_pb.ts'

/** A protobuf `Any`: the message's full name, and its bytes. */
export interface AnyMessage {
  typeUrl: string
  value: Uint8Array
}

/** What a task uses, on either version of cgroups. A limit is undefined where there is none. */
export interface TaskStats {
  cpuNs: number
  cpuUserNs: number
  cpuKernelNs: number
  throttledPeriods: number
  throttledNs: number
  memoryBytes: number
  /** Memory less the inactive page cache, which the kernel takes back at need. */
  memoryWorkingSetBytes: number
  memoryMaxBytes: number
  memoryLimitBytes: number | undefined
  pids: number
  pidsMax: number | undefined
  oomKills: number
  /** From block devices. */
  readBytes: number
  writtenBytes: number
  /** The shim's own answer, for clients of containerd's API. */
  raw: AnyMessage
}

/** cgroups v1 writes "no limit" as the largest page-aligned number, v2 as the largest number. */
const UNLIMITED_FROM = 2n ** 62n

const limit = (value: bigint | undefined): number | undefined =>
  value === undefined || value === 0n || value >= UNLIMITED_FROM ? undefined : Number(value)

/** @throws PurserError unimplemented for metrics of a kind that is not known here, such as a Windows shim's */
export function taskStats(raw: AnyMessage): TaskStats {
  const name = nameOf(raw)
  if (name === MetricsV1Schema.typeName) return statsV1(fromBinary(MetricsV1Schema, raw.value), raw)
  if (name === MetricsV2Schema.typeName) return statsV2(fromBinary(MetricsV2Schema, raw.value), raw)
  throw unknown(name)
}

/** The same in the words of containerd's own message. @throws PurserError unimplemented, as taskStats */
export function metricsJson(raw: AnyMessage): { type: string; data: JsonValue } {
  const type = nameOf(raw)
  if (type === MetricsV1Schema.typeName)
    return { type, data: toJson(MetricsV1Schema, fromBinary(MetricsV1Schema, raw.value)) }
  if (type === MetricsV2Schema.typeName)
    return { type, data: toJson(MetricsV2Schema, fromBinary(MetricsV2Schema, raw.value)) }
  throw unknown(type)
}

const nameOf = ({ typeUrl }: AnyMessage): string => typeUrl.slice(typeUrl.lastIndexOf('/') + 1)

const unknown = (name: string): PurserError =>
  new PurserError('unimplemented', `metrics of type ${name} are not known`, {
    remedy: 'ask the runtime itself: its shim does not tell cgroup statistics',
  })

function statsV1({ cpu, memory, pids, memoryOomControl, blkio }: MetricsV1, raw: AnyMessage): TaskStats {
  const used = memory?.usage?.usage ?? 0n
  return {
    cpuNs: Number(cpu?.usage?.total ?? 0n),
    cpuUserNs: Number(cpu?.usage?.user ?? 0n),
    cpuKernelNs: Number(cpu?.usage?.kernel ?? 0n),
    throttledPeriods: Number(cpu?.throttling?.throttledPeriods ?? 0n),
    throttledNs: Number(cpu?.throttling?.throttledTime ?? 0n),
    memoryBytes: Number(used),
    memoryWorkingSetBytes: workingSet(used, memory?.totalInactiveFile ?? 0n),
    memoryMaxBytes: Number(memory?.usage?.max ?? 0n),
    memoryLimitBytes: limit(memory?.usage?.limit),
    pids: Number(pids?.current ?? 0n),
    pidsMax: limit(pids?.limit),
    oomKills: Number(memoryOomControl?.oomKill ?? 0n),
    readBytes: bytesOf(blkio, 'read'),
    writtenBytes: bytesOf(blkio, 'write'),
    raw,
  }
}

function bytesOf(blkio: MetricsV1['blkio'], op: 'read' | 'write'): number {
  return (blkio?.ioServiceBytesRecursive ?? [])
    .filter((entry) => entry.op.toLowerCase() === op)
    .reduce((sum, { value }) => sum + Number(value), 0)
}

function statsV2({ cpu, memory, pids, memoryEvents, io }: MetricsV2, raw: AnyMessage): TaskStats {
  const devices = io?.usage ?? []
  const used = memory?.usage ?? 0n
  return {
    cpuNs: Number(cpu?.usageUsec ?? 0n) * 1000,
    cpuUserNs: Number(cpu?.userUsec ?? 0n) * 1000,
    cpuKernelNs: Number(cpu?.systemUsec ?? 0n) * 1000,
    throttledPeriods: Number(cpu?.nrThrottled ?? 0n),
    throttledNs: Number(cpu?.throttledUsec ?? 0n) * 1000,
    memoryBytes: Number(used),
    memoryWorkingSetBytes: workingSet(used, memory?.inactiveFile ?? 0n),
    memoryMaxBytes: Number(memory?.maxUsage ?? 0n),
    memoryLimitBytes: limit(memory?.usageLimit),
    pids: Number(pids?.current ?? 0n),
    pidsMax: limit(pids?.limit),
    oomKills: Number(memoryEvents?.oomKill ?? 0n),
    readBytes: devices.reduce((sum, { rbytes }) => sum + Number(rbytes), 0),
    writtenBytes: devices.reduce((sum, { wbytes }) => sum + Number(wbytes), 0),
    raw,
  }
}

const workingSet = (used: bigint, inactiveFile: bigint): number =>
  inactiveFile < used ? Number(used - inactiveFile) : 0
