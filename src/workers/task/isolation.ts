import { hostname, release } from 'node:os'
import { join } from 'node:path'
import { container } from '../../commands/container.ts'
import { hasController } from '../../host/cgroups.ts'
import { allDevices, devicesAt } from '../../host/devices.ts'
import type { IdMap } from '../../host/mounts.ts'
import { hasHugepages, onlineCpus, ownCapabilityBits, ownHardLimit, ownOomScoreAdj } from '../../host/own-powers.ts'
import { errnoOf } from '../../host/syscalls.ts'
import type { View } from '../../model/aggregate.ts'
import { PurserError } from '../../model/errors.ts'
import { CAPABILITIES } from '../../oci/spec/capabilities.ts'
import type { ContainerOptions } from '../../oci/spec/container-options.ts'
import type { GivenDevice } from '../../oci/spec/devices.ts'
import type { HostPart } from '../../oci/spec/isolation.ts'
import { otherContainer } from '../../oci/spec/isolation-options.ts'
import type { BlockIo, Mount, ThrottledDevice } from '../../oci/spec/schema.ts'
import { appArmorOf } from './app-armor.ts'
import type { TaskEffects } from './effects.ts'
import { mountPoint } from './live-task.ts'
import { pidOfOther } from './other-container.ts'
import type { TaskMount } from './task-mounts.ts'

export const DEFAULT_SHM_BYTES = 64 * 1024 * 1024
/** Looked for once: what a daemon may do does not change. */
let powers: readonly string[] | undefined

const ownCapabilities = (): readonly string[] => {
  powers ??= CAPABILITIES.filter((_, bit) => (ownCapabilityBits() >> BigInt(bit)) & 1n)
  return powers
}

interface IsolatedTask {
  namespace: string
  id: string
  view: View
  effects: Pick<TaskEffects, 'paths' | 'cgroupVersion'>
  signal: AbortSignal
}

/**
 * What options of isolation come to on this host: devices, namespaces of other containers, shared memory. What cannot be had
 * here is refused before anything is made.
 *
 * @throws PurserError naming the option and the reason
 */
export async function hostPartOf(
  job: IsolatedTask,
  options: ContainerOptions,
  ids: IdMap | undefined,
): Promise<HostPart> {
  checkLimits(options, job.effects.cgroupVersion)
  return {
    capabilities: ownCapabilities(),
    kernel: release(),
    hostname: hostname(),
    devices: devicesOf(options),
    throttles: throttlesOf(options),
    namespaces: {
      ...pathOf('pid', options.pid, job),
      ...pathOf('ipc', options.ipc, job),
    },
    shm: sharedMemory(job, options),
    apparmorProfile: await appArmorOf(options, job.signal),
    ids,
  }
}

/** What others can be given too: of a namespace that has ended it could not be asked for. */
export function sharedMounts({ ipc, shmBytes = DEFAULT_SHM_BYTES }: ContainerOptions): TaskMount[] {
  return ipc === 'shareable' ? [shmMount(shmBytes)] : []
}

export function shmMount(bytes: number): TaskMount {
  const options = ['nosuid', 'noexec', 'nodev', 'mode=1777', `size=${bytes}`]
  return { name: 'shm', mounts: [{ type: 'tmpfs', source: 'shm', options }] }
}

function checkLimits(options: ContainerOptions, cgroupVersion: 1 | 2): void {
  const { ulimits = [], oomScoreAdj, oomKillDisable, resources, hugepages = [] } = options
  const mayRaise = ownCapabilities().includes('CAP_SYS_RESOURCE')
  for (const { name, hard } of mayRaise ? [] : ulimits) {
    const own = ownHardLimit(name)
    const asked = hard === -1 ? Number.POSITIVE_INFINITY : hard
    if (asked > own) {
      throw refused(
        'ulimits',
        `${name}=${hard === -1 ? 'unlimited' : hard} is above the daemon's own hard limit, ${own}`,
        {
          remedy: 'ask for less, raise it for the daemon (LimitNOFILE= and the like), or run it with CAP_SYS_RESOURCE',
        },
      )
    }
  }
  if (oomScoreAdj !== undefined && !mayRaise && oomScoreAdj < ownOomScoreAdj()) {
    throw refused('oomScoreAdj', `${oomScoreAdj} is below the daemon's own, ${ownOomScoreAdj()}`, {
      remedy: 'ask for more, or run the daemon with CAP_SYS_RESOURCE',
    })
  }
  if (oomKillDisable && cgroupVersion === 2) {
    throw refused('oomKillDisable', 'this host has cgroup v2, which cannot keep the kernel from killing', {
      remedy: 'leave it out',
    })
  }
  checkCpus(resources.cpusetCpus)
  for (const { pageSize } of hugepages) {
    if (!hasController('hugetlb')) {
      throw refused('hugepages', 'this host has no hugetlb controller for cgroups', {
        remedy: 'leave it out, or mount the controller',
      })
    }
    if (!hasHugepages(pageSize)) {
      throw refused('hugepages', `the kernel has no pages of ${pageSize}`, {
        remedy: 'ls /sys/kernel/mm/hugepages lists the sizes',
      })
    }
  }
  if (resources.blkioWeight !== undefined && cgroupVersion === 1 && !hasController('blkio')) {
    throw refused('resources.blkioWeight', 'this host has no blkio controller for cgroups', { remedy: 'leave it out' })
  }
}

function checkCpus(asked: string | undefined): void {
  if (asked === undefined) return
  const there = new Set(numbersIn(onlineCpus()))
  const missing = numbersIn(asked).find((each) => !there.has(each))
  if (missing !== undefined) {
    throw refused('resources.cpusetCpus', `CPU ${missing} of ${asked} is not online here: ${onlineCpus()} are`, {
      remedy: 'name CPUs that are',
    })
  }
}

const CPUS_MAX = 8192

function numbersIn(list: string): number[] {
  return list.split(',').flatMap((part) => {
    const [first = 0, last = first] = part.split('-').map(Number)
    return Array.from({ length: Math.min(Math.max(last - first + 1, 0), CPUS_MAX) }, (_, at) => first + at)
  })
}

function devicesOf({ privileged, devices = [], tty }: ContainerOptions): GivenDevice[] {
  const given = devices.flatMap(({ path, target = path, permissions }) => {
    const found = lookFor('devices', path)
    return found.map((device) => ({ ...device, path: join(target, device.path.slice(path.length)), permissions }))
  })
  // A terminal has its own console; nodes of the host's terminals would be in its place.
  const all = privileged ? allDevices().filter(({ path }) => !tty || !/^\/dev\/tty\d*$/.test(path)) : []
  const byPath = new Map(all.map((device) => [device.path, { ...device, permissions: 'rwm' }]))
  for (const device of given) byPath.set(device.path, device)
  return [...byPath.values()]
}

function lookFor(field: string, path: string) {
  try {
    const found = devicesAt(path)
    if (found.length > 0) return found
  } catch (cause) {
    if (errnoOf(cause) === undefined) throw cause
    throw refused(field, `${path} is not on this host`, { remedy: 'name a device that is', cause })
  }
  throw refused(field, `${path} is no device`, { remedy: 'name a device, or a directory with devices' })
}

function throttlesOf({ io = {} }: ContainerOptions): BlockIo {
  const throttled = (asked: readonly { device: string; rate: number }[]): ThrottledDevice[] =>
    asked.map(({ device, rate }) => {
      const [found] = lookFor('io', device)
      if (found?.type === 'b') return { major: found.major, minor: found.minor, rate }
      throw refused('io', `${device} is no block device`, { remedy: 'name a disk: lsblk -p lists them' })
    })
  const { readBps, writeBps, readIops, writeIops } = io
  return {
    ...(readBps === undefined ? {} : { throttleReadBpsDevice: throttled(readBps) }),
    ...(writeBps === undefined ? {} : { throttleWriteBpsDevice: throttled(writeBps) }),
    ...(readIops === undefined ? {} : { throttleReadIOPSDevice: throttled(readIops) }),
    ...(writeIops === undefined ? {} : { throttleWriteIOPSDevice: throttled(writeIops) }),
  }
}

/** Of another container's first process. */
function pathOf(kind: 'pid' | 'ipc', mode: string | undefined, { view, namespace }: IsolatedTask) {
  const other = otherContainer(mode)
  if (other === undefined) return {}
  return { [kind]: `/proc/${pidOfOther(view, namespace, other, kind)}/ns/${kind}` }
}

/** The memory of another container, or that which others may be given. */
function sharedMemory({ namespace, id, view, effects }: IsolatedTask, options: ContainerOptions): Mount | undefined {
  const other = otherContainer(options.ipc)
  if (other === undefined) {
    if (options.ipc !== 'shareable') return undefined
    return bindShm(mountPoint(effects.paths.bundle(namespace, id), 'shm'))
  }
  const made = view.get(container, namespace, other)
  if (made.status === 'absent' || made.options.ipc !== 'shareable') {
    throw refused('ipc', `the ipc namespace of container ${other} is private`, {
      remedy: `start ${other} with --ipc shareable`,
    })
  }
  return bindShm(mountPoint(effects.paths.bundle(namespace, other), 'shm'))
}

export const bindShm = (source: string): Mount => ({
  destination: '/dev/shm',
  type: 'bind',
  source,
  options: ['rbind', 'rprivate', 'nosuid', 'noexec', 'nodev', 'rw'],
})

function refused(field: string, why: string, { remedy, cause }: { remedy: string; cause?: unknown }): PurserError {
  return new PurserError('failed_precondition', `${field}: ${why}`, { remedy, field: `options.${field}`, cause })
}
