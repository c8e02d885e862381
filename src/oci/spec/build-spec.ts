import { posix } from 'node:path'
import { PurserError } from '../../model/errors.ts'
import { parseSignal } from '../signals.ts'
import type { ContainerMount, ContainerOptions } from './container-options.ts'
import {
  CPU_PERIOD_US,
  DEFAULT_CAPABILITIES,
  DEFAULT_PATH,
  DEFAULT_RLIMITS,
  defaultDeviceRules,
  defaultMounts,
  defaultNamespaces,
  MASKED_PATHS,
  READONLY_PATHS,
} from './defaults.ts'
import { mergeEnv } from './environment.ts'
import type { Capabilities, Device, DeviceRule, Mount, Resources, Spec } from './schema.ts'
import { defaultSeccomp } from './seccomp.ts'
import { type ResolvedUser, resolveUser } from './users.ts'

/**
 * What an image's config says of the process, in its own words; null and absent are one, as Go writes them.
 *
 * @see image-spec, config.md, "config"
 */
export interface ImageProcess {
  Env?: readonly string[] | null | undefined
  Cmd?: readonly string[] | null | undefined
  Entrypoint?: readonly string[] | null | undefined
  WorkingDir?: string | null | undefined
  User?: string | null | undefined
  StopSignal?: string | null | undefined
}

export interface SpecInput {
  image: ImageProcess
  options: ContainerOptions
  id: string
  /** As the runtime takes it: `/namespace/id`, below each controller's root. */
  cgroupsPath: string
  /** Absolute, or relative to the bundle; `rootfs` by default. */
  rootPath?: string
  /** Text of the image's `/etc/passwd` and `/etc/group`, undefined where it has none. */
  passwd?: string | undefined
  group?: string | undefined
  /** Of the machine, in the image spec's words: `amd64`. */
  arch: string
  cgroupVersion: 1 | 2
  /** Instead of what hostnameOf says. */
  hostname?: string
  /** Device nodes besides the default ones; the container may read, write and make them. */
  devices?: readonly Device[]
  annotations?: Readonly<Record<string, string>>
  /** Bind mounts of `/etc/resolv.conf`, `/etc/hosts` and the like; a mount of the options at the same place wins. */
  networkFiles?: readonly Mount[]
  /** Program on the host that is to be the first process, with the container's own as its child. */
  init?: string | undefined
  /** A network namespace to join. */
  networkNamespace?: string | undefined
  /** -1000 to 1000; absent, it is inherited from the shim. Lowering it needs CAP_SYS_RESOURCE. */
  oomScoreAdj?: number
}

/**
 * The runtime configuration of a container: its image's config under the caller's options, with containerd's defaults.
 *
 * @throws PurserError invalid_argument when there is nothing to run or the user is unknown; failed_precondition when the
 *   image's user files exceed their bounds
 */
export function buildSpec(input: SpecInput): Spec {
  const { image, options } = input
  const user = resolveUser(options.user ?? image.User ?? '', { passwd: input.passwd, group: input.group })
  const hostname = input.hostname ?? hostnameOf(options, input.id)
  const devices = input.devices ?? []
  return {
    ociVersion: '1.0.2',
    process: {
      ...(options.tty ? { terminal: true } : {}),
      user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
      args: [...(input.init === undefined ? [] : [INIT_TARGET, '--']), ...argsOf(image, options)],
      env: environmentOf(image, options, hostname, user),
      cwd: posix.resolve('/', options.workingDir ?? image.WorkingDir ?? '/'),
      capabilities: capabilitiesOf(user.uid, DEFAULT_CAPABILITIES),
      rlimits: DEFAULT_RLIMITS.map((limit) => ({ ...limit })),
      noNewPrivileges: true,
      ...(input.oomScoreAdj === undefined ? {} : { oomScoreAdj: input.oomScoreAdj }),
    },
    root: { path: input.rootPath ?? 'rootfs', ...(options.readOnlyRoot ? { readonly: true } : {}) },
    hostname,
    mounts: mountsOf([...(input.networkFiles ?? []), ...initMounts(input.init)], options.mounts),
    linux: {
      namespaces: defaultNamespaces(networkOf(input), input.cgroupVersion),
      cgroupsPath: input.cgroupsPath,
      resources: resourcesOf(options.resources, devices),
      ...(devices.length === 0 ? {} : { devices: devices.map((device) => ({ ...device })) }),
      seccomp: defaultSeccomp(DEFAULT_CAPABILITIES, input.arch),
      maskedPaths: [...MASKED_PATHS],
      readonlyPaths: [...READONLY_PATHS],
    },
    ...(input.annotations === undefined ? {} : { annotations: { ...input.annotations } }),
  }
}

/** Where a container finds its init, as docker has it. */
const INIT_TARGET = '/sbin/docker-init'

const initMounts = (init: string | undefined): Mount[] =>
  init === undefined
    ? []
    : [
        {
          destination: INIT_TARGET,
          type: 'bind',
          source: init,
          options: ['rbind', 'rprivate', 'ro', 'nosuid', 'nodev'],
        },
      ]

/** The name that a container goes by: the one that is asked for, or the first 12 characters of its id. */
export const hostnameOf = (options: Pick<ContainerOptions, 'hostname'>, id: string): string =>
  options.hostname ?? id.slice(0, 12)

/**
 * The signal that asks a container to end: the caller's, else the image's, else SIGTERM.
 *
 * @throws PurserError invalid_argument when it is none that Linux has
 */
export const stopSignalOf = (image: ImageProcess, options: Pick<ContainerOptions, 'stopSignal'>): number =>
  parseSignal(options.stopSignal || image.StopSignal || 'SIGTERM')

/**
 * A process that is not root gets the bounding set alone: the kernel would clear the rest when it runs a program.
 * Inheritable and ambient stay empty, else a program with file capabilities would gain (CVE-2022-24769).
 */
export const capabilitiesOf = (uid: number, bounding: readonly string[]): Capabilities => ({
  bounding: [...bounding],
  ...(uid === 0 ? { effective: [...bounding], permitted: [...bounding] } : {}),
})

/** As docker has it: arguments replace Cmd, an entrypoint replaces Entrypoint and clears Cmd. */
function argsOf(image: ImageProcess, options: ContainerOptions): string[] {
  const given = options.entrypoint
  const entrypoint = given?.length === 1 && given[0] === '' ? [] : (given ?? image.Entrypoint ?? [])
  const cmd = options.args?.length ? options.args : given === undefined ? (image.Cmd ?? []) : []
  const args = [...entrypoint, ...cmd]
  if (args[0]) return args
  throw new PurserError(
    'invalid_argument',
    'there is nothing to run: neither the image nor the options name a program',
    {
      remedy: 'give a command after the image',
      field: 'args',
    },
  )
}

function networkOf({ networkNamespace, options }: SpecInput): 'none' | 'host' | { path: string } {
  if (networkNamespace !== undefined) return { path: networkNamespace }
  return options.network === 'host' ? 'host' : 'none'
}

function environmentOf(image: ImageProcess, options: ContainerOptions, hostname: string, user: ResolvedUser): string[] {
  return mergeEnv(
    [DEFAULT_PATH, `HOSTNAME=${hostname}`, ...(options.tty ? ['TERM=xterm'] : []), `HOME=${user.home}`],
    image.Env ?? [],
    options.env,
  )
}

/** Later ones replace earlier ones at the same place; parents come before what is mounted beneath them. */
function mountsOf(networkFiles: readonly Mount[], asked: readonly ContainerMount[]): Mount[] {
  const byDestination = new Map<string, Mount>()
  for (const mount of [...defaultMounts(), ...networkFiles, ...asked.map(mountOf)]) {
    byDestination.set(mount.destination, { ...mount, options: [...mount.options] })
  }
  const depth = ({ destination }: Mount) => destination.split('/').length
  return [...byDestination.values()].sort((a, b) => depth(a) - depth(b))
}

const PROPAGATIONS = /^r?(?:private|shared|slave|unbindable)$/

function mountOf(mount: ContainerMount): Mount {
  const destination = mount.target.replace(/\/$/, '')
  const asked = mount.options
  if (mount.type === 'tmpfs') {
    return { destination, type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'nodev', 'noexec', ...asked] }
  }
  const hasBind = asked.includes('bind') || asked.includes('rbind')
  const hasPropagation = asked.some((option) => PROPAGATIONS.test(option))
  const hasAccess = asked.includes('ro') || asked.includes('rw')
  return {
    destination,
    type: 'bind',
    source: mount.source,
    options: [
      ...(hasBind ? [] : ['rbind']),
      ...(hasPropagation ? [] : ['rprivate']),
      ...(hasAccess ? [] : ['rw']),
      ...asked,
    ],
  }
}

/** Swap is not set: hosts without swap accounting refuse it. */
/** Limits in the runtime's terms; `task.update` sends them too. */
export function resourcesOf(limits: ContainerOptions['resources'], devices: readonly Device[]): Resources {
  const { memoryBytes, cpus, cpuShares, pidsLimit } = limits
  const cpu = {
    ...(cpuShares === undefined ? {} : { shares: cpuShares }),
    ...(cpus === undefined ? {} : { quota: Math.round(cpus * CPU_PERIOD_US), period: CPU_PERIOD_US }),
  }
  return {
    devices: [...defaultDeviceRules(), ...devices.flatMap(deviceRule)],
    ...(memoryBytes === undefined ? {} : { memory: { limit: memoryBytes } }),
    ...(Object.keys(cpu).length === 0 ? {} : { cpu }),
    ...(pidsLimit === undefined ? {} : { pids: { limit: pidsLimit } }),
  }
}

/** A FIFO is no device to the cgroup; `u` is another word for `c`. */
function deviceRule({ type, major, minor }: Device): DeviceRule[] {
  if (type === 'p') return []
  return [{ allow: true, type: type === 'u' ? 'c' : type, major, minor, access: 'rwm' }]
}
