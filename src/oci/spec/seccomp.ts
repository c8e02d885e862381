import type { Seccomp, SeccompArg, SeccompRule } from './schema.ts'
import {
  ALLOWED_BY_ARCHITECTURE,
  ALLOWED_BY_CAPABILITY,
  ALWAYS_ALLOWED,
  SECCOMP_ARCHITECTURES,
} from './seccomp-profile.ts'

/** PER_LINUX and PER_LINUX32, each with and without UNAME26; the last one only asks which it is. */
const PERSONALITIES = [0x0, 0x8, 0x20000, 0x20008, 0xffffffff]

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET. */
const CLONE_NEW_FLAGS = 0x7e020000

const AF_ALG = 38
const AF_VSOCK = 40
const ENOSYS = 38

const allow = (names: readonly string[], ...args: SeccompArg[]): SeccompRule => ({
  names: [...names],
  action: 'SCMP_ACT_ALLOW',
  ...(args.length === 0 ? {} : { args }),
})

/**
 * containerd's default seccomp profile: what is not named fails with EPERM.
 *
 * @param capabilities the bounding set; some of them open the system calls that they are about
 * @param architecture of the machine, in the image spec's words (`amd64`); one that is unknown filters its native ABI only
 */
export function defaultSeccomp(capabilities: readonly string[], architecture: string): Seccomp {
  const admin = capabilities.includes('CAP_SYS_ADMIN')
  const architectures = SECCOMP_ARCHITECTURES[architecture]
  const native = ALLOWED_BY_ARCHITECTURE[architecture]
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    ...(architectures === undefined ? {} : { architectures: [...architectures] }),
    syscalls: [
      allow(ALWAYS_ALLOWED),
      ...PERSONALITIES.map((value) => allow(['personality'], { index: 0, value, op: 'SCMP_CMP_EQ' })),
      ...socketRules(),
      ...(native === undefined ? [] : [allow(native)]),
      ...capabilities.flatMap((capability) => {
        const names = ALLOWED_BY_CAPABILITY[capability]
        return names === undefined ? [] : [allow(names)]
      }),
      ...(admin ? [] : cloneRules(architecture)),
    ],
  }
}

/**
 * All address families but AF_ALG (CVE-2026-31431) and AF_VSOCK, which would reach the hypervisor. In three ranges,
 * since rules of one system call are alternatives: two "not equal" would allow everything.
 */
function socketRules(): SeccompRule[] {
  return [
    allow(['socket'], { index: 0, value: AF_ALG, op: 'SCMP_CMP_LT' }),
    allow(['socket'], { index: 0, value: AF_ALG + 1, op: 'SCMP_CMP_EQ' }),
    allow(['socket'], { index: 0, value: AF_VSOCK, op: 'SCMP_CMP_GT' }),
  ]
}

/** `clone` may make no namespace. `clone3` has its flags in memory, out of a filter's sight: ENOSYS sends libc to `clone`. */
function cloneRules(architecture: string): SeccompRule[] {
  const index = architecture === 's390x' ? 1 : 0 // The flags are the second argument there.
  return [
    allow(['clone'], { index, value: CLONE_NEW_FLAGS, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }),
    { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS },
  ]
}
