import { PurserError } from '../../model/errors.ts'
import type { ContainerOptions } from './container-options.ts'
import { defaultDeviceRules, MASKED_PATHS, READONLY_PATHS } from './defaults.ts'
import { type GivenDevice, parseDeviceRules, rulesFor } from './devices.ts'
import type { BlockIo, Device, DeviceRule, IdMapping, Linux, Mount, Namespace, Resources, Seccomp } from './schema.ts'
import { defaultSeccomp } from './seccomp.ts'
import { resolveSeccomp } from './seccomp-custom.ts'

/** What the options come to on the host that they are carried out on. */
export interface HostPart {
  /** Capabilities that the daemon has, and can give. */
  capabilities: readonly string[]
  /** As uname(2) has it. */
  kernel: string
  /** The host's name, for a container that shares it. */
  hostname: string
  /** Devices that are given, with all of the host's for a privileged container. */
  devices: readonly GivenDevice[]
  throttles: BlockIo
  /** Namespaces of other containers. */
  namespaces: Partial<Record<Namespace['type'], string>>
  /** What is mounted at /dev/shm, instead of memory of its own. */
  shm: Mount | undefined
  apparmorProfile: string | undefined
  /** Of its user namespace; without one its ids are the host's. */
  ids: { uids: readonly MappedIds[]; gids: readonly MappedIds[] } | undefined
}

interface MappedIds {
  containerId: number
  hostId: number
  size: number
}

interface Guards {
  apparmorProfile?: string
  noNewPrivileges: boolean
  seccomp?: Seccomp
  maskedPaths: string[]
  readonlyPaths: string[]
}

/** A privileged container has none of them but those that are asked for. */
export function guardsOf(options: ContainerOptions, bounding: readonly string[], arch: string, host: HostPart): Guards {
  const { privileged = false, security = {} } = options
  const isOpen = privileged || security.systemPaths === 'unconfined'
  const seccomp = security.seccomp ?? (privileged ? 'unconfined' : undefined)
  return {
    ...(host.apparmorProfile === undefined ? {} : { apparmorProfile: host.apparmorProfile }),
    noNewPrivileges: security.noNewPrivileges ?? !privileged,
    ...(seccomp === 'unconfined'
      ? {}
      : {
          seccomp:
            seccomp === undefined
              ? defaultSeccomp(bounding, arch)
              : resolveSeccomp(seccomp, { capabilities: bounding, architecture: arch, kernel: host.kernel }),
        }),
    maskedPaths: isOpen ? [] : [...MASKED_PATHS],
    readonlyPaths: isOpen ? [] : [...READONLY_PATHS],
  }
}

/** The usual namespaces, without those that are the host's, and with the places of those that are another container's. */
export function sharedNamespaces(usual: readonly Namespace[], options: ContainerOptions, host: HostPart): Namespace[] {
  const { pid, ipc, uts, cgroupns } = options
  const isHosts: Partial<Record<Namespace['type'], boolean>> = {
    pid: pid === 'host',
    ipc: ipc === 'host',
    uts: uts === 'host',
    cgroup: cgroupns === 'host',
  }
  const all = usual.some(({ type }) => type === 'cgroup') || cgroupns !== 'private' ? usual : [...usual, CGROUP]
  const user: Namespace[] = host.ids === undefined ? [] : [{ type: 'user' }]
  return [...all, ...user]
    .filter(({ type }) => isHosts[type] !== true)
    .map((namespace) => {
      const path = host.namespaces[namespace.type]
      return path === undefined ? { ...namespace } : { ...namespace, path }
    })
}

const CGROUP: Namespace = { type: 'cgroup' }

/** The usual mounts as the options want them. */
export function isolatedMounts(
  usual: readonly Mount[],
  options: ContainerOptions,
  host: HostPart,
  hasOwnNetwork: boolean,
): Mount[] {
  const { privileged, shmBytes, ipc } = options
  return usual.map((mount) => {
    if (mount.destination === '/sys' && host.ids !== undefined && !hasOwnNetwork) return { ...BIND_SYS }
    if (privileged && mount.destination.startsWith('/sys')) return { ...mount, options: writable(mount.options) }
    if (mount.destination !== '/dev/shm') return mount
    if (host.shm !== undefined) return host.shm
    if (ipc === 'host') return { ...BIND_SHM }
    return shmBytes === undefined ? mount : { ...mount, options: sized(mount.options, shmBytes) }
  })
}

const BIND_SHM: Mount = {
  destination: '/dev/shm',
  type: 'bind',
  source: '/dev/shm',
  options: ['rbind', 'rprivate', 'nosuid', 'noexec', 'nodev', 'rw'],
}

/** Only the user namespace that owns a network can mount its sysfs; this one shows the network of the host. */
const BIND_SYS: Mount = {
  destination: '/sys',
  type: 'bind',
  source: '/sys',
  options: ['rbind', 'rprivate', 'nosuid', 'noexec', 'nodev', 'rro'],
}

export function idMappings({ ids }: HostPart): Pick<Linux, 'uidMappings' | 'gidMappings'> {
  if (ids === undefined) return {}
  const mapping = ({ containerId, hostId, size }: MappedIds): IdMapping => ({
    containerID: containerId,
    hostID: hostId,
    size,
  })
  return { uidMappings: ids.uids.map(mapping), gidMappings: ids.gids.map(mapping) }
}

/** @throws PurserError failed_precondition when the user is none of those that the namespace has */
export function checkUser({ uid, gid }: { uid: number; gid: number }, { ids }: HostPart): void {
  if (ids === undefined) return
  const has = (ranges: readonly MappedIds[], id: number): boolean =>
    ranges.some(({ containerId, size }) => id >= containerId && id < containerId + size)
  if (has(ids.uids, uid) && has(ids.gids, gid)) return
  const size = ids.uids[0]?.size ?? 0
  throw new PurserError(
    'failed_precondition',
    `user ${uid}:${gid} is not in its user namespace, which has ${size} ids`,
    {
      remedy: 'give it more ids (--userns UID:GID:SIZE), or another user',
      field: 'user',
    },
  )
}

const writable = (options: readonly string[]): string[] => options.map((option) => (option === 'ro' ? 'rw' : option))

const sized = (options: readonly string[], bytes: number): string[] =>
  options.map((option) => (option.startsWith('size=') ? `size=${bytes}` : option))

/** Kernel parameters; the domain name is one of them, since runtimes before OCI 1.1 know no other way. */
export function sysctlsOf({ sysctls, domainname }: ContainerOptions): Record<string, string> | undefined {
  if (sysctls === undefined && domainname === undefined) return undefined
  return { ...sysctls, ...(domainname === undefined ? {} : { 'kernel.domainname': domainname }) }
}

/** Which devices may be used: the usual ones and those that are given, or all. */
export function deviceRules({ privileged, deviceRules: asked = [] }: ContainerOptions, host: HostPart): DeviceRule[] {
  if (privileged) return [{ allow: true, access: 'rwm' }]
  return [...defaultDeviceRules(), ...rulesFor(host.devices), ...parseDeviceRules(asked)]
}

export const nodesOf = ({ devices }: HostPart): Device[] =>
  devices.map(({ permissions: _, ...device }) => ({ ...device }))

/** Limits that are set once, when a container is created. */
export function fixedLimits(options: ContainerOptions, host: HostPart, limits: Omit<Resources, 'devices'>) {
  const { oomKillDisable, hugepages } = options
  const blockIO = { ...limits.blockIO, ...host.throttles }
  return {
    ...limits,
    ...(oomKillDisable ? { memory: { ...limits.memory, disableOOMKiller: true } } : {}),
    ...(Object.keys(blockIO).length === 0 ? {} : { blockIO }),
    ...(hugepages === undefined
      ? {}
      : { hugepageLimits: hugepages.map(({ pageSize, limitBytes }) => ({ pageSize, limit: limitBytes })) }),
  }
}
