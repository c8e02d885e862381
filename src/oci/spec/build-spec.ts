import { posix } from 'node:path'
import { PurserError } from '../../model/errors.ts'
import { parseSignal } from '../signals.ts'
import { boundingSet } from './capabilities.ts'
import type { ContainerMount, ContainerOptions } from './container-options.ts'
import { DEFAULT_CAPABILITIES, DEFAULT_PATH, DEFAULT_RLIMITS, defaultMounts, defaultNamespaces } from './defaults.ts'
import { mergeEnv } from './environment.ts'
import {
  checkUser,
  deviceRules,
  fixedLimits,
  guardsOf,
  type HostPart,
  idMappings,
  isolatedMounts,
  nodesOf,
  sharedNamespaces,
  sysctlsOf,
} from './isolation.ts'
import { limitsOf } from './limits.ts'
import type { Capabilities, Mount, Spec } from './schema.ts'
import { rlimitsOf } from './ulimits.ts'
import { groupsAdded, type ResolvedUser, resolveUser } from './users.ts'

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
  /** What the options come to on this host; nothing of it by default. */
  host?: Partial<HostPart>
  annotations?: Readonly<Record<string, string>> | undefined
  /** Bind mounts of `/etc/resolv.conf`, `/etc/hosts` and the like; a mount of the options at the same place wins. */
  networkFiles?: readonly Mount[]
  /** Bind mounts of what the image declares as volumes. */
  volumes?: readonly Mount[]
  /** Program on the host that is to be the first process, with the container's own as its child. */
  init?: string | undefined
  /** A network namespace to join. */
  networkNamespace?: string | undefined
}

const NOTHING_OF_THE_HOST: HostPart = {
  capabilities: DEFAULT_CAPABILITIES,
  kernel: '0.0',
  hostname: 'localhost',
  devices: [],
  throttles: {},
  namespaces: {},
  shm: undefined,
  apparmorProfile: undefined,
  ids: undefined,
}

/**
 * The runtime configuration of a container: its image's config under the caller's options, with containerd's defaults.
 *
 * @throws PurserError invalid_argument when there is nothing to run or the user is unknown; failed_precondition when the
 *   image's user files exceed their bounds
 */
export function buildSpec(input: SpecInput): Spec {
  const { image, options } = input
  const host = { ...NOTHING_OF_THE_HOST, ...input.host }
  const user = resolveUser(options.user ?? image.User ?? '', { passwd: input.passwd, group: input.group })
  checkUser(user, host)
  const hostname = options.uts === 'host' ? host.hostname : hostnameOf(options, input.id)
  const bounding = boundingSet(options, host.capabilities)
  const { apparmorProfile, noNewPrivileges, ...guards } = guardsOf(options, bounding, input.arch, host)
  const devices = nodesOf(host)
  const sysctl = sysctlsOf(options)
  return {
    ociVersion: '1.0.2',
    process: {
      ...(options.tty ? { terminal: true } : {}),
      user: {
        uid: user.uid,
        gid: user.gid,
        additionalGids: groupsAdded(user.additionalGids, options.groupAdd ?? [], input.group),
      },
      args: [...(input.init === undefined ? [] : [INIT_TARGET, '--']), ...argsOf(image, options)],
      env: environmentOf(image, options, hostname, user),
      cwd: posix.resolve('/', options.workingDir ?? image.WorkingDir ?? '/'),
      capabilities: capabilitiesOf(user.uid, bounding),
      rlimits: rlimitsOf(DEFAULT_RLIMITS, options.ulimits),
      noNewPrivileges,
      ...(options.oomScoreAdj === undefined ? {} : { oomScoreAdj: options.oomScoreAdj }),
      ...(apparmorProfile === undefined ? {} : { apparmorProfile }),
    },
    root: { path: input.rootPath ?? 'rootfs', ...(options.readOnlyRoot ? { readonly: true } : {}) },
    ...(options.uts === 'host' ? {} : { hostname }),
    mounts: mountsOf(
      isolatedMounts(defaultMounts(), options, host, networkOf(input) === 'none'),
      [...(input.volumes ?? []), ...(input.networkFiles ?? []), ...initMounts(input.init)],
      options.mounts,
    ),
    linux: {
      namespaces: sharedNamespaces(defaultNamespaces(networkOf(input), input.cgroupVersion), options, host),
      cgroupsPath: input.cgroupsPath,
      resources: {
        devices: deviceRules(options, host),
        ...fixedLimits(options, host, limitsOf(options.resources)),
      },
      ...idMappings(host),
      ...(devices.length === 0 ? {} : { devices }),
      ...(sysctl === undefined ? {} : { sysctl }),
      ...guards,
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
function mountsOf(usual: readonly Mount[], networkFiles: readonly Mount[], asked: readonly ContainerMount[]): Mount[] {
  const byDestination = new Map<string, Mount>()
  for (const mount of [...usual, ...networkFiles, ...asked.map(mountOf)]) {
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
  const isFlat = asked.includes('bind') && !asked.includes('rbind')
  const hasPropagation = asked.some((option) => PROPAGATIONS.test(option))
  const hasAccess = ['ro', 'rro', 'rw'].some((access) => asked.includes(access))
  const options = [...(hasPropagation ? [] : ['rprivate']), ...(hasAccess ? [] : ['rw']), ...asked]
  return {
    destination,
    type: 'bind',
    source: mount.source,
    options: isFlat ? options.map(flat) : [...(asked.includes('rbind') ? [] : ['rbind']), ...options],
  }
}

/** crun takes a propagation of all that is mounted below to mean that it is mounted too. */
const flat = (option: string): string => (PROPAGATIONS.test(option) ? option.replace(/^r/, '') : option)
