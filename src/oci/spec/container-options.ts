import { posix } from 'node:path'
import { z } from 'zod'
import { isSignal } from '../signals.ts'
import { hostname } from './hostname.ts'
import { isolationOptions } from './isolation-options.ts'
import { moreLimits } from './limits.ts'
import { networkOptions } from './network-options.ts'

/** The kernel's MAX_ARG_STRLEN: no argument or variable may be longer. */
const ARG_BYTES_MAX = 131_072
const ARGS_MAX = 4096

/** runc and the kernel need some for themselves; docker's bound. */
export const MEMORY_BYTES_MIN = 6 * 1024 * 1024

const text = z
  .string()
  .refine((value) => !value.includes('\0'), 'it must hold no NUL character')
  .refine((value) => Buffer.byteLength(value) < ARG_BYTES_MAX, `it has ${ARG_BYTES_MAX - 1} bytes at most`)

const words = z.array(text).max(ARGS_MAX, `there are ${ARGS_MAX} at most`)

const variables = z
  .array(text.regex(/^[^=]+=/, 'a variable is KEY=VALUE, with a key that is not empty'))
  .max(ARGS_MAX, `there are ${ARGS_MAX} at most`)

const path = z
  .string()
  .max(4095, 'a path has 4095 characters at most')
  .refine((value) => !value.includes('\0'), 'it must hold no NUL character')

const absolutePath = path.startsWith('/', 'a path must be absolute: begin with /')

const user = z
  .string()
  .max(256, 'a user has 256 characters at most')
  .regex(/^[^\s:]*(?::[^\s:]*)?$/, 'a user is user, uid, user:group or uid:gid')

const target = absolutePath.regex(
  /^(?:\/(?!\.{1,2}(?:\/|$))[^/]+)+\/?$/,
  'a mount target is not / itself and has no . or .. or // in it',
)

const FLAGS =
  'ro rw exec noexec suid nosuid dev nodev atime noatime diratime nodiratime relatime norelatime strictatime'
const BIND_OPTIONS = new Set(
  `${FLAGS} rro bind rbind private rprivate shared rshared slave rslave unbindable runbindable`.split(' '),
)
const TMPFS_FLAGS = new Set(`${FLAGS} sync dirsync tmpcopyup`.split(' '))
const TMPFS_VALUE = /^(?:size=\d{1,16}[kmg%]?|mode=[0-7]{3,4}|uid=\d{1,10}|gid=\d{1,10}|nr_inodes=\d{1,16}[kmg]?)$/

const options = (isKnown: (option: string) => boolean, known: string) =>
  z
    .array(z.string().refine(isKnown, { error: ({ input }) => `no such mount option: ${input}; known are ${known}` }))
    .max(64, 'there are 64 at most')
    .default([])
    .describe('mount options, as mount(8) writes them; a later one wins')

const bindMount = z
  .strictObject({
    type: z.literal('bind'),
    source: absolutePath.describe('file or directory of the host'),
    target: target.describe('path in the container'),
    options: options((option) => BIND_OPTIONS.has(option), [...BIND_OPTIONS].join(' ')),
  })
  .describe('a file or directory of the host; rbind, rprivate and rw unless the options say otherwise')

const tmpfsMount = z
  .strictObject({
    type: z.literal('tmpfs'),
    target: target.describe('path in the container'),
    options: options(
      (option) => TMPFS_FLAGS.has(option) || TMPFS_VALUE.test(option),
      `${[...TMPFS_FLAGS].join(' ')} size= mode= uid= gid= nr_inodes=`,
    ),
  })
  .describe('memory that is gone with the container; nosuid, nodev and noexec unless the options say otherwise')

const mounts = z
  .array(z.discriminatedUnion('type', [bindMount, tmpfsMount]))
  .max(256, 'there are 256 mounts at most')
  .refine(
    (all) => new Set(all.map((mount) => posix.join(mount.target, '/'))).size === all.length,
    'two mounts have the same target',
  )

const resources = z.strictObject({
  memoryBytes: z
    .int()
    .min(MEMORY_BYTES_MIN, `a memory limit is ${MEMORY_BYTES_MIN} bytes (6 MiB) at least`)
    .optional()
    .describe('limit of memory, in bytes, swap not counted; above it the container is killed'),
  cpus: z
    .number()
    .min(0.01, 'cpus is 0.01 at least')
    .max(4096, 'cpus is 4096 at most')
    .optional()
    .describe('CPU time the container may use, in CPUs: 1.5 is one and a half'),
  cpuShares: z
    .int()
    .min(2, 'cpuShares is 2 at least')
    .max(262_144, 'cpuShares is 262144 at most')
    .optional()
    .describe('weight against other containers while CPUs are short; 1024 is usual'),
  pidsLimit: z
    .int()
    .min(1, 'pidsLimit is 1 at least')
    .max(4_194_304, 'pidsLimit is 4194304 at most')
    .optional()
    .describe('how many processes and threads there may be at once'),
  ...moreLimits,
})

const signal = z.string().max(16).refine(isSignal, 'a signal is SIGTERM, TERM or 15; see kill -l')

const terminal = z.boolean().default(false).describe('whether it gets a pseudo-terminal')
const input = z.boolean().default(false).describe('whether its standard input is kept open for attach')

/** What a caller may ask of a container besides its image: the payload of `container.create`. */
export const containerOptions = z.strictObject({
  args: words.optional().describe("arguments, instead of the image's Cmd"),
  entrypoint: words
    .optional()
    .describe("program and first arguments, instead of the image's Entrypoint and Cmd; an empty list clears both"),
  env: variables.default([]).describe("variables, each KEY=VALUE, over the image's; a later one wins"),
  workingDir: absolutePath.optional().describe("directory it starts in, made if missing, instead of the image's"),
  user: user
    .optional()
    .describe(
      "user, uid, user:group or uid:gid, looked up in the image, instead of the image's; ids are 0 to 2147483647",
    ),
  tty: terminal,
  stdin: input,
  hostname: hostname.optional().describe('name of the machine as the container sees it; by default from its id'),
  mounts: mounts.default([]).describe('mounts besides the default ones, which they replace at the same target'),
  ...networkOptions,
  resources: resources.default({}).describe('limits; what is absent is not limited'),
  stopSignal: signal.optional().describe("signal that asks it to end, instead of the image's; SIGTERM without either"),
  readOnlyRoot: z.boolean().default(false).describe('whether the root file system is read-only'),
  ...isolationOptions,
})

export type ContainerOptions = z.output<typeof containerOptions>
export type ContainerMount = ContainerOptions['mounts'][number]

/** What a caller may ask of one more process in a running container: the payload of `task.exec`. */
export const execOptions = z.strictObject({
  args: words.min(1, 'args names the program to run, and its arguments').describe('program and arguments'),
  env: variables.default([]).describe("variables, each KEY=VALUE, over the container's; a later one wins"),
  workingDir: absolutePath.optional().describe("directory it starts in, instead of the container's"),
  user: user.optional().describe("user, uid, user:group or uid:gid, instead of the container's"),
  tty: terminal,
  stdin: input,
})

export type ExecOptions = z.output<typeof execOptions>
