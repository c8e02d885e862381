import { readFileSync } from 'node:fs'
import type { CommandPayload } from '../../client/index.ts'
import { PurserError } from '../../model/errors.ts'
import { parseCdiName } from '../../oci/cdi/name.ts'
import { parseBytes } from '../../oci/size.ts'
import { ULIMITS } from '../../oci/spec/ulimit-names.ts'
import type { FlagsOf, OptionSpecs } from '../line/verb.ts'
import { keyValue, wholeNumber } from './numbers.ts'

type Options = NonNullable<CommandPayload<'container.run'>['options']>
type Security = NonNullable<Options['security']>

const UINT = Number.MAX_SAFE_INTEGER

/** What `run`, `create` and `pool create` say of how far a container is kept apart from the host, in docker's words. */
export const isolationOptions = {
  privileged: { help: 'all capabilities and devices, nothing masked: as good as root on the host' },
  'cap-add': { value: 'capability', many: true, help: 'NET_ADMIN or the like, or ALL' },
  'cap-drop': { value: 'capability', many: true, help: 'a capability that it is not to have, or ALL' },
  'security-opt': {
    value: 'option',
    many: true,
    parse: securityOption,
    help: 'seccomp=FILE|unconfined, apparmor=PROFILE|unconfined, no-new-privileges[=false], systempaths=unconfined',
  },
  device: {
    value: 'path[:path[:rwm]]',
    many: true,
    parse: device,
    completes: 'file',
    help: 'a device of the host, or one of CDI: vendor.com/class=name',
  },
  'device-cgroup-rule': { value: 'rule', many: true, help: 'a rule for the device cgroup: c 10:229 rwm' },
  'group-add': { value: 'group', many: true, help: 'one more group of its user' },
  domainname: { value: 'name', help: 'NIS domain name' },
  pid: { value: 'mode', help: 'host or container:NAME: the processes that it sees' },
  ipc: { value: 'mode', help: 'private (the default), shareable, host or container:NAME' },
  uts: { value: 'mode', choices: ['host'], help: "host: the host's name" },
  userns: { value: 'mode', help: 'host (the default), auto or UID:GID:SIZE: whose ids its own are' },
  cgroupns: { value: 'mode', choices: ['host', 'private'], help: 'whether it sees its own cgroup only' },
  'storage-opt': {
    value: 'option',
    many: true,
    parse: storageOption,
    help: 'size=10g: what it may write beside the image',
  },
  'cgroup-parent': { value: 'path', help: 'cgroup that its own is in: /ci/jobs, or a slice with systemd' },
  'shm-size': { value: 'bytes', parse: parseBytes, help: 'size of /dev/shm; 64m by default' },
  'oom-score-adj': { value: 'n', parse: wholeNumber(-1000, 1000), help: 'how soon it is killed for want of memory' },
  'oom-kill-disable': { help: 'wait for memory instead of being killed; cgroup v1, with --memory' },
  ulimit: { value: 'name=soft[:hard]', many: true, parse: ulimit, help: 'nofile=1024:4096; -1 is unlimited' },
  sysctl: { value: 'key=value', many: true, parse: keyValue('a sysctl'), help: 'net.core.somaxconn=1024 or the like' },
  'hugetlb-limit': { value: 'size=bytes', many: true, parse: hugepages, help: 'huge pages it may have: 2MB=64m' },
  'device-read-bps': {
    value: 'path:bytes',
    many: true,
    parse: rate,
    completes: 'file',
    help: 'in a second: /dev/sda:1m',
  },
  'device-write-bps': { value: 'path:bytes', many: true, parse: rate, completes: 'file', help: 'the same for writing' },
  'device-read-iops': { value: 'path:n', many: true, parse: rate, completes: 'file', help: 'operations in a second' },
  'device-write-iops': { value: 'path:n', many: true, parse: rate, completes: 'file', help: 'the same for writing' },
} as const satisfies OptionSpecs

/** Limits besides the common ones. */
export const limitOptions = {
  'memory-swap': { value: 'bytes', parse: bytesOrUnlimited, help: 'memory and swap together; -1 is unlimited' },
  'memory-reservation': { value: 'bytes', parse: parseBytes, help: 'what it is brought back to while memory is short' },
  'cpu-shares': {
    short: 'c',
    value: 'n',
    parse: wholeNumber(2, 262_144),
    help: 'weight while CPUs are short; 1024 is usual',
  },
  'cpu-quota': { value: 'µs', parse: wholeNumber(1000, UINT), help: 'CPU time in each period' },
  'cpu-period': { value: 'µs', parse: wholeNumber(1000, 1_000_000), help: 'that period; 100000 by default' },
  'cpuset-cpus': { value: 'list', help: 'CPUs that it may run on: 0-3,8' },
  'cpuset-mems': { value: 'list', help: 'NUMA nodes whose memory it may use' },
  'blkio-weight': { value: 'n', parse: wholeNumber(10, 1000), help: 'share of disks while they are busy' },
} as const satisfies OptionSpecs

export function isolationPayload(flags: FlagsOf<typeof isolationOptions>) {
  const io = given({
    readBps: list(flags['device-read-bps']),
    writeBps: list(flags['device-write-bps']),
    readIops: list(flags['device-read-iops']),
    writeIops: list(flags['device-write-iops']),
  })
  const security: Security = Object.assign({}, ...flags['security-opt'])
  return {
    ...(flags.privileged ? { privileged: true } : {}),
    ...(flags['oom-kill-disable'] ? { oomKillDisable: true } : {}),
    ...given({
      capAdd: list(flags['cap-add']),
      capDrop: list(flags['cap-drop']),
      security: Object.keys(security).length === 0 ? undefined : security,
      devices: list(flags.device.filter((each) => typeof each !== 'string')),
      cdiDevices: list(flags.device.filter((each) => typeof each === 'string')),
      deviceRules: list(flags['device-cgroup-rule']),
      groupAdd: list(flags['group-add']),
      domainname: flags.domainname,
      pid: flags.pid,
      ipc: flags.ipc,
      userns: flags.userns,
      uts: flags.uts === 'host' ? ('host' as const) : undefined,
      cgroupns: cgroupns(flags.cgroupns),
      storageBytes: flags['storage-opt'].at(-1),
      cgroupParent: flags['cgroup-parent'],
      shmBytes: flags['shm-size'],
      oomScoreAdj: flags['oom-score-adj'],
      ulimits: list(flags.ulimit),
      sysctls: flags.sysctl.length === 0 ? undefined : Object.fromEntries(flags.sysctl),
      hugepages: list(flags['hugetlb-limit']),
      io: Object.keys(io).length === 0 ? undefined : io,
    }),
  }
}

const cgroupns = (word: string | undefined): 'host' | 'private' | undefined =>
  word === 'host' || word === 'private' ? word : undefined

export const limitPayload = (flags: FlagsOf<typeof limitOptions>) =>
  given({
    memorySwapBytes: flags['memory-swap'],
    memoryReservationBytes: flags['memory-reservation'],
    cpuShares: flags['cpu-shares'],
    cpuQuotaUs: flags['cpu-quota'],
    cpuPeriodUs: flags['cpu-period'],
    cpusetCpus: flags['cpuset-cpus'],
    cpusetMems: flags['cpuset-mems'],
    blkioWeight: flags['blkio-weight'],
  })

const list = <T>(all: T[]): T[] | undefined => (all.length === 0 ? undefined : all)

/** The entries that have a value. */
const given = <T extends object>(all: T) =>
  Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>
  }

function refused(text: string, why: string, remedy: string): PurserError {
  return new PurserError('invalid_argument', `${JSON.stringify(text)} ${why}`, { remedy })
}

/** docker's `--security-opt`, with `=` or with a colon as it once was. */
function securityOption(text: string): Security {
  const [, key = '', value] = /^([a-z-]+)(?:[=:](.*))?$/s.exec(text) ?? []
  switch (key) {
    case 'no-new-privileges':
      if (value === undefined || value === 'true') return { noNewPrivileges: true }
      if (value === 'false') return { noNewPrivileges: false }
      throw refused(text, 'is neither true nor false', 'write no-new-privileges or no-new-privileges=false')
    case 'systempaths':
      if (value === 'unconfined') return { systemPaths: 'unconfined' }
      throw refused(text, 'is not known', 'write systempaths=unconfined')
    case 'apparmor':
      if (value) return { apparmor: value }
      throw refused(text, 'names no profile', 'write apparmor=PROFILE or apparmor=unconfined')
    case 'seccomp':
      if (value === 'unconfined') return { seccomp: value }
      if (value) return { seccomp: seccompFile(value) }
      throw refused(text, 'names no file', 'write seccomp=FILE or seccomp=unconfined')
    case 'label':
      if (value === 'disable') return {}
      throw refused(text, 'is for SELinux, whose labels Purser does not set', 'leave it out, or write label=disable')
  }
  throw refused(
    text,
    'is no security option',
    'write seccomp=, apparmor=, no-new-privileges, systempaths=unconfined or label=disable',
  )
}

/** The profile itself goes to the daemon, which need not see the file. What is not in it as docker writes it is null or empty. */
function seccompFile(path: string): Exclude<Security['seccomp'], string | undefined> {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    throw new PurserError('not_found', `the seccomp profile ${path} cannot be read`, {
      cause,
      remedy: 'name one that can',
    })
  }
  try {
    return JSON.parse(text, (_key, value: unknown) => (value === null ? undefined : value))
  } catch (cause) {
    throw new PurserError('invalid_argument', `the seccomp profile ${path} is no JSON`, { cause, remedy: 'mend it' })
  }
}

/** docker's `--device PATH[:PATH][:PERMISSIONS]`, or the name of a CDI device. */
function device(text: string): NonNullable<Options['devices']>[number] | string {
  if (parseCdiName(text) !== undefined) return text
  const [path = '', second, third, surplus] = text.split(':')
  const isPermissions = third === undefined && second !== undefined && /^[rwm]{1,3}$/.test(second)
  const target = isPermissions ? undefined : second
  const permissions = isPermissions ? second : third
  if (!path.startsWith('/') || surplus !== undefined || (target !== undefined && !target.startsWith('/'))) {
    throw refused(
      text,
      'is no device',
      'write PATH, PATH:PATH or PATH:PATH:rwm, with absolute paths, or vendor.com/class=name',
    )
  }
  return { path, ...(target === undefined ? {} : { target }), ...(permissions === undefined ? {} : { permissions }) }
}

/** docker's `--ulimit NAME=SOFT[:HARD]`. */
function ulimit(text: string): NonNullable<Options['ulimits']>[number] {
  const [, word = '', first = '', second = first] = /^([a-z]+)=(-1|\d{1,15})(?::(-1|\d{1,15}))?$/.exec(text) ?? []
  const name = ULIMITS.find((each) => each === word)
  if (name !== undefined) return { name, soft: Number(first), hard: Number(second) }
  throw refused(text, 'is no limit', `write NAME=SOFT or NAME=SOFT:HARD, NAME one of ${ULIMITS.join(', ')}`)
}

function bytesOrUnlimited(text: string): number {
  return text === '-1' ? -1 : parseBytes(text)
}

/** docker's `--device-read-bps PATH:RATE`. */
function rate(text: string): { device: string; rate: number } {
  const at = text.lastIndexOf(':')
  const device = text.slice(0, Math.max(at, 0))
  if (!device.startsWith('/')) throw refused(text, 'names no device', 'write PATH:RATE, such as /dev/sda:1m')
  return { device, rate: parseBytes(text.slice(at + 1)) }
}

/** docker's `--storage-opt size=BYTES`. */
function storageOption(text: string): number {
  const bytes = /^size=(.+)$/.exec(text)?.[1]
  if (bytes !== undefined) return parseBytes(bytes)
  throw refused(text, 'is no storage option', 'write size=BYTES, such as size=10g')
}

function hugepages(text: string): { pageSize: string; limitBytes: number } {
  const [, pageSize, bytes] = /^(\d{1,4}[KMG]B)=(.+)$/.exec(text) ?? []
  if (pageSize === undefined || bytes === undefined)
    throw refused(text, 'limits no huge pages', 'write SIZE=BYTES, such as 2MB=64m')
  return { pageSize, limitBytes: parseBytes(bytes) }
}
