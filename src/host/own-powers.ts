import { existsSync, readFileSync } from 'node:fs'

/** What this process may do, as far as others that it starts inherit it. */

/** Bits of its effective capabilities. @see proc_pid_status(5), CapEff */
export function ownCapabilityBits(): bigint {
  const [, hex = '0'] = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? []
  return BigInt(`0x${hex}`)
}

/** @returns Infinity where there is no limit. @see proc_pid_limits(5) */
export function ownHardLimit(limit: keyof typeof NAMES): number {
  const line = readFileSync('/proc/self/limits', 'utf8')
    .split('\n')
    .find((each) => each.startsWith(`${NAMES[limit]} `))
  const hard = line?.slice(NAMES[limit].length).trim().split(/\s+/)[1]
  return hard === undefined || hard === 'unlimited' ? Number.POSITIVE_INFINITY : Number(hard)
}

const NAMES = {
  core: 'Max core file size',
  cpu: 'Max cpu time',
  data: 'Max data size',
  fsize: 'Max file size',
  locks: 'Max file locks',
  memlock: 'Max locked memory',
  msgqueue: 'Max msgqueue size',
  nice: 'Max nice priority',
  nofile: 'Max open files',
  nproc: 'Max processes',
  rss: 'Max resident set',
  rtprio: 'Max realtime priority',
  rttime: 'Max realtime timeout',
  sigpending: 'Max pending signals',
  stack: 'Max stack size',
} as const

export const ownOomScoreAdj = (): number => Number(readFileSync('/proc/self/oom_score_adj', 'utf8'))

/** @see cpuset(7), "List format" */
export const onlineCpus = (): string => readFileSync('/sys/devices/system/cpu/online', 'utf8').trim()

/** Sizes that the kernel can have huge pages in, as `2MB`. */
export function hasHugepages(pageSize: string): boolean {
  const [, number = '', unit = ''] = /^(\d+)([KMG])B$/.exec(pageSize) ?? []
  const kib = Number(number) * { K: 1, M: 1024, G: 1024 * 1024 }[unit as 'K' | 'M' | 'G']
  return existsSync(`/sys/kernel/mm/hugepages/hugepages-${kib}kB`)
}
