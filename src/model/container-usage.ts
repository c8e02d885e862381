import type { Pressure } from './pressure.ts'

/** What a container has used so far, and uses at a moment. */
export interface ContainerUsage {
  /** RFC 3339, UTC. */
  time: string
  cpuNs: number
  memoryBytes: number
  /** Less the page cache that the kernel takes back at need. */
  memoryWorkingSetBytes: number
  /** Absent without a limit. */
  memoryLimitBytes?: number
  pids: number
  pidsMax?: number
  oomKills: number
  readBytes: number
  writtenBytes: number
  receivedBytes: number
  sentBytes: number
  /** Now, where the kernel tells it: samples of the past have none. */
  pressure?: Pressure
}
