import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DEFAULT_CAPABILITIES } from '../../../src/oci/spec/defaults.ts'
import { defaultSeccomp } from '../../../src/oci/spec/seccomp.ts'

const rulesFor = (name: string, capabilities: readonly string[], architecture = 'amd64') =>
  defaultSeccomp(capabilities, architecture).syscalls.filter((rule) => rule.names.includes(name))

test('what is not named fails', () => {
  assert.equal(defaultSeccomp(DEFAULT_CAPABILITIES, 'amd64').defaultAction, 'SCMP_ACT_ERRNO')
  for (const name of [
    'mount',
    'bpf',
    'unshare',
    'keyctl',
    'init_module',
    'kexec_load',
    'io_uring_setup',
    'userfaultfd',
  ]) {
    assert.deepEqual(rulesFor(name, DEFAULT_CAPABILITIES), [], name)
  }
})

test('a capability opens its own system calls', () => {
  assert.equal(rulesFor('chroot', DEFAULT_CAPABILITIES).length, 1)
  assert.equal(rulesFor('chroot', []).length, 0)
  assert.equal(rulesFor('mount', ['CAP_SYS_ADMIN']).length, 1)
})

test('clone makes no namespace, and clone3 says ENOSYS, unless CAP_SYS_ADMIN', () => {
  const args = rulesFor('clone', [])[0]?.args
  assert.deepEqual(args, [{ index: 0, value: 0x7e020000, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }])
  assert.equal(rulesFor('clone', [], 's390x')[0]?.args?.[0]?.index, 1)
  assert.equal(rulesFor('clone3', [])[0]?.errnoRet, 38)
  assert.deepEqual(
    rulesFor('clone3', ['CAP_SYS_ADMIN']).map((rule) => rule.action),
    ['SCMP_ACT_ALLOW'],
  )
})

test('no rule lets AF_ALG or AF_VSOCK sockets through', () => {
  const allows = (family: number) =>
    rulesFor('socket', DEFAULT_CAPABILITIES).some(({ args = [] }) =>
      args.every(({ op, value }) =>
        op === 'SCMP_CMP_LT' ? family < value : op === 'SCMP_CMP_GT' ? family > value : family === value,
      ),
    )
  const denied = Array.from({ length: 64 }, (_, family) => family).filter((family) => !allows(family))
  assert.deepEqual(denied, [38, 40])
})

test('a 64-bit machine filters its 32-bit calls too', () => {
  assert.deepEqual(defaultSeccomp([], 'amd64').architectures, ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'])
  assert.deepEqual(defaultSeccomp([], 'arm64').architectures, ['SCMP_ARCH_ARM', 'SCMP_ARCH_AARCH64'])
  assert.equal(defaultSeccomp([], 'vax').architectures, undefined)
})
