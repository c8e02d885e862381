import { z } from 'zod'
import { PurserError } from '../../model/errors.ts'
import type { Seccomp, SeccompRule } from './schema.ts'

/** `SCMP_ACT_NOTIFY` is not among them: it needs an agent that listens. */
const action = z.enum([
  'SCMP_ACT_ALLOW',
  'SCMP_ACT_ERRNO',
  'SCMP_ACT_KILL',
  'SCMP_ACT_KILL_PROCESS',
  'SCMP_ACT_KILL_THREAD',
  'SCMP_ACT_LOG',
  'SCMP_ACT_TRACE',
  'SCMP_ACT_TRAP',
])

const OPERATORS = ['NE', 'LT', 'LE', 'EQ', 'GE', 'GT', 'MASKED_EQ'] as const
const operator = z.enum(OPERATORS.map((each) => `SCMP_CMP_${each}` as const))

const architecture = z.string().regex(/^SCMP_ARCH_[A-Z0-9_]{1,16}$/, 'an architecture is SCMP_ARCH_X86_64 or the like')
const errno = z.int().min(0).max(4095).optional()
const systemCall = z.string().regex(/^[a-zA-Z0-9_]{1,64}$/, 'a system call is named open or the like')

const condition = z
  .strictObject({
    caps: z.array(z.string().max(32)).max(64).optional(),
    arches: z.array(z.string().max(32)).max(32).optional(),
    minKernel: z
      .string()
      .regex(/^\d{1,3}\.\d{1,3}$/, 'a kernel is 4.8')
      .optional(),
  })
  .optional()

/**
 * A profile as docker and podman take it from a file: OCI's, with architectures and rules that depend on capabilities, on the
 * machine and on the kernel.
 *
 * @see runtime-spec, config-linux.md, "Seccomp"; moby, profiles/seccomp
 */
export const seccompProfile = z.strictObject({
  defaultAction: action,
  defaultErrnoRet: errno,
  flags: z
    .array(z.enum(['SECCOMP_FILTER_FLAG_LOG', 'SECCOMP_FILTER_FLAG_SPEC_ALLOW', 'SECCOMP_FILTER_FLAG_TSYNC']))
    .max(3)
    .optional(),
  architectures: z.array(architecture).max(32).optional(),
  archMap: z
    .array(z.strictObject({ architecture, subArchitectures: z.array(architecture).max(16).optional() }))
    .max(32)
    .optional(),
  syscalls: z
    .array(
      z.strictObject({
        names: z.array(systemCall).min(1).max(1024),
        action,
        errnoRet: errno,
        args: z
          .array(
            z.strictObject({
              index: z.int().min(0).max(5),
              value: z.int().nonnegative(),
              valueTwo: z.int().nonnegative().optional(),
              op: operator,
            }),
          )
          .max(6)
          .optional(),
        comment: z.string().max(1024).optional(),
        includes: condition,
        excludes: condition,
      }),
    )
    .max(1024)
    .optional(),
})
export type SeccompProfile = z.output<typeof seccompProfile>
type Condition = z.output<typeof condition>

/** What a profile is resolved for. */
export interface SeccompTarget {
  /** The bounding set. */
  capabilities: readonly string[]
  /** Of the machine, in the image spec's words: `amd64`. */
  architecture: string
  /** As uname(2) has it: `6.1.0-18-amd64`. */
  kernel: string
}

/** Architectures in libseccomp's words. */
const NATIVE: Readonly<Record<string, string>> = {
  '386': 'SCMP_ARCH_X86',
  amd64: 'SCMP_ARCH_X86_64',
  arm: 'SCMP_ARCH_ARM',
  arm64: 'SCMP_ARCH_AARCH64',
  ppc64le: 'SCMP_ARCH_PPC64LE',
  riscv64: 'SCMP_ARCH_RISCV64',
  s390x: 'SCMP_ARCH_S390X',
}

/** @throws PurserError invalid_argument when the profile contradicts itself */
export function resolveSeccomp(profile: SeccompProfile, target: SeccompTarget): Seccomp {
  const { defaultAction, defaultErrnoRet, flags, architectures, archMap, syscalls = [] } = profile
  if (architectures?.length && archMap?.length) {
    throw new PurserError('invalid_argument', 'the seccomp profile has both architectures and archMap', {
      remedy: 'keep one of them',
      field: 'security.seccomp',
    })
  }
  const native = NATIVE[target.architecture]
  const mapped = archMap?.find((each) => each.architecture === native)
  const listed = mapped ? [mapped.architecture, ...(mapped.subArchitectures ?? [])] : architectures
  return {
    defaultAction,
    ...(defaultErrnoRet === undefined ? {} : { defaultErrnoRet }),
    ...(flags?.length ? { flags: [...flags] } : {}),
    ...(listed?.length ? { architectures: [...listed] } : {}),
    syscalls: syscalls
      .filter(({ includes, excludes }) => isIncluded(includes, target) && !isExcluded(excludes, target))
      .map(
        ({ names, action, errnoRet, args }): SeccompRule => ({
          names: [...names],
          action,
          ...(errnoRet === undefined ? {} : { errnoRet }),
          ...(args?.length
            ? {
                args: args.map(({ valueTwo, ...arg }) => ({ ...arg, ...(valueTwo === undefined ? {} : { valueTwo }) })),
              }
            : {}),
        }),
      ),
  }
}

function isIncluded(condition: Condition, { capabilities, architecture, kernel }: SeccompTarget): boolean {
  const { caps = [], arches = [], minKernel } = condition ?? {}
  if (arches.length > 0 && !arches.includes(architecture)) return false
  return caps.every((each) => capabilities.includes(each)) && (minKernel === undefined || isSince(kernel, minKernel))
}

function isExcluded(condition: Condition, { capabilities, architecture, kernel }: SeccompTarget): boolean {
  const { caps = [], arches = [], minKernel } = condition ?? {}
  return (
    arches.includes(architecture) ||
    caps.some((each) => capabilities.includes(each)) ||
    (minKernel !== undefined && isSince(kernel, minKernel))
  )
}

function isSince(kernel: string, version: string): boolean {
  const [major = 0, minor = 0] = kernel.split(/[.-]/).map(Number)
  const [leastMajor = 0, leastMinor = 0] = version.split('.').map(Number)
  return major > leastMajor || (major === leastMajor && minor >= leastMinor)
}
