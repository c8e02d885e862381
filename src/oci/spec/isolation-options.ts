import { z } from 'zod'
import { identifier } from '../../model/ids.ts'
import { capabilityOptions } from './capabilities.ts'
import { cgroupParent } from './cgroup-parent.ts'
import { deviceOptions } from './devices.ts'
import { hostname } from './hostname.ts'
import { imageMounts } from './image-mounts.ts'
import { hugepages, ioLimits, type ResourceLimits, resourceConflict } from './limits.ts'
import { networkMode } from './network-mode.ts'
import { seccompProfile } from './seccomp-custom.ts'
import { storageBytes } from './storage.ts'
import { namespaceOfSysctl, sysctls } from './sysctls.ts'
import { ulimits } from './ulimits.ts'
import { userns, usernsMode } from './user-namespace-options.ts'

/** `host`, `container:ID`, or a word of its own. */
function namespaceMode(what: string, words: readonly string[]) {
  return z
    .string()
    .max(90)
    .refine((text) => words.includes(text) || otherContainer(text) !== undefined, {
      error: ({ input }) => `${JSON.stringify(input)} is none of: ${words.join(', ')}, container:ID`,
    })
    .optional()
    .describe(what)
}

/** The container that a namespace is shared with. */
export function otherContainer(mode: string | undefined): string | undefined {
  const id = /^container:(.*)$/.exec(mode ?? '')?.[1]
  return id !== undefined && identifier.safeParse(id).success ? id : undefined
}

const apparmor = z
  .string()
  .regex(/^[A-Za-z0-9_./:+-]{1,128}$/, 'an AppArmor profile is a name, or unconfined')
  .describe('name of a profile that is loaded; unconfined for none')

/** What a caller may ask of how far a container is kept apart from the host. Absent is the default. */
export const isolationOptions = {
  privileged: z
    .boolean()
    .optional()
    .describe('all capabilities and devices, nothing masked, no seccomp filter: as good as root on the host'),
  ...capabilityOptions,
  security: z
    .strictObject({
      seccomp: z
        .union([z.literal('unconfined'), seccompProfile])
        .optional()
        .describe("docker's or OCI's seccomp profile, or unconfined, instead of the default one"),
      apparmor: apparmor.optional(),
      noNewPrivileges: z.boolean().optional().describe('true by default: setuid programs gain nothing'),
      systemPaths: z.literal('unconfined').optional().describe('nothing in /proc and /sys is masked or read-only'),
    })
    .optional()
    .describe('what guards it besides capabilities'),
  ...deviceOptions,
  groupAdd: z
    .array(z.string().regex(/^[^\s:]{1,256}$/, "a group is a name of the image's /etc/group, or a number"))
    .min(1)
    .max(256)
    .optional()
    .describe('groups of its user besides its own'),
  domainname: hostname.optional().describe('NIS domain name'),
  pid: namespaceMode('processes it sees: its own, those of the host, or of another container', ['host']),
  ipc: namespaceMode('System V IPC and /dev/shm: private by default; shareable is private and may be shared', [
    'private',
    'shareable',
    'host',
  ]),
  uts: z.literal('host').optional().describe("the host's name, instead of one of its own"),
  userns,
  cgroupns: z.enum(['host', 'private']).optional().describe('whether it sees its own cgroup only'),
  cgroupParent,
  imageMounts: imageMounts.optional(),
  storageBytes: storageBytes.optional(),
  shmBytes: z.int().min(4096).max(Number.MAX_SAFE_INTEGER).optional().describe('size of /dev/shm; 64 MiB by default'),
  oomScoreAdj: z
    .int()
    .min(-1000)
    .max(1000)
    .optional()
    .describe('how soon it is killed for want of memory; 1000 is first'),
  oomKillDisable: z
    .boolean()
    .optional()
    .describe('wait for memory instead of being killed: cgroup v1 only, with a limit'),
  ulimits: ulimits.optional(),
  sysctls: sysctls.optional(),
  io: ioLimits.optional(),
  hugepages: hugepages.optional(),
}

type Given = { [Key in keyof typeof isolationOptions]?: z.output<(typeof isolationOptions)[Key]> } & {
  network?: string | undefined
  hostname?: string | undefined
  resources?: ResourceLimits
}

interface Conflict {
  field: string
  message: string
}

/** What does not go together. */
export function isolationConflict(options: Given): Conflict | undefined {
  const { uts, hostname, domainname, ipc, shmBytes, oomKillDisable, resources = {} } = options
  const limits = resourceConflict(resources)
  if (limits) return limits
  if (uts === 'host' && (hostname ?? domainname) !== undefined) {
    const field = hostname === undefined ? 'domainname' : 'hostname'
    return { field, message: `${field} cannot be had with uts host: it would be the host's that is changed` }
  }
  if (shmBytes !== undefined && (ipc === 'host' || otherContainer(ipc) !== undefined)) {
    return { field: 'shmBytes', message: `with ipc ${ipc} /dev/shm is another's, whose size it keeps` }
  }
  if (oomKillDisable && resources.memoryBytes === undefined) {
    return { field: 'oomKillDisable', message: 'it needs a limit of memory, or the host would stand still' }
  }
  return sysctlConflict(options) ?? usernsConflict(options)
}

/** A user namespace has power over what was made in it, and over nothing else. */
function usernsConflict({ userns, privileged, pid, ipc, uts, network, storageBytes }: Given): Conflict | undefined {
  if (usernsMode(userns)?.kind === 'host') return undefined
  const shared = { pid, ipc: ipc === 'private' || ipc === 'shareable' ? undefined : ipc, uts }
  const [kind, mode] = Object.entries(shared).find(([, mode]) => mode !== undefined) ?? []
  const message = (what: string) => `${what} cannot be had with userns ${userns}`
  if (kind !== undefined) return { field: 'userns', message: message(`${kind} ${mode}`) }
  if (storageBytes !== undefined) return { field: 'userns', message: message('storageBytes') }
  if (privileged) return { field: 'userns', message: message('privileged') }
  if (network === 'host' || otherContainer(network) !== undefined) {
    return { field: 'userns', message: message(`network ${network}`) }
  }
  return undefined
}

function sysctlConflict({ sysctls = {}, ipc, uts, domainname, network }: Given): Conflict | undefined {
  const shared = {
    ipc: ipc === 'host' ? 'ipc host' : undefined,
    network: networkMode(network)?.kind === 'host' ? 'network host' : undefined,
    uts: uts === 'host' ? 'uts host' : undefined,
  }
  for (const name of Object.keys(sysctls)) {
    const kind = namespaceOfSysctl(name)
    const host = kind === undefined ? undefined : shared[kind]
    if (host !== undefined)
      return { field: 'sysctls', message: `${name} is the host's with ${host}: it stays as it is` }
  }
  if (domainname !== undefined && 'kernel.domainname' in sysctls) {
    return { field: 'sysctls', message: 'kernel.domainname is given by domainname already' }
  }
  return undefined
}
