import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { buildSpec, type SpecInput } from '../../../src/oci/spec/build-spec.ts'
import { boundingSet, CAPABILITIES } from '../../../src/oci/spec/capabilities.ts'
import { containerOptions } from '../../../src/oci/spec/container-options.ts'
import { DEFAULT_CAPABILITIES } from '../../../src/oci/spec/defaults.ts'
import { optionsConflict } from '../../../src/oci/spec/options-conflict.ts'
import { resolveSeccomp, seccompProfile } from '../../../src/oci/spec/seccomp-custom.ts'
import { rlimitsOf, specJson } from '../../../src/oci/spec/ulimits.ts'

const build = (options: object, host: SpecInput['host'] = {}, more: Partial<SpecInput> = {}) =>
  buildSpec({
    image: { Cmd: ['true'] },
    options: containerOptions.parse(options),
    id: 'c1',
    cgroupsPath: '/default/c1',
    arch: 'amd64',
    cgroupVersion: 1,
    host,
    ...more,
  })

test('capabilities are added and dropped as docker does', () => {
  const of = (capAdd: string[], capDrop: string[] = []) => boundingSet({ capAdd, capDrop }, CAPABILITIES)
  assert.deepEqual(of([]), DEFAULT_CAPABILITIES)
  assert.deepEqual(of(['net_admin', 'CAP_CHOWN'], ['ALL']), ['CAP_NET_ADMIN', 'CAP_CHOWN'])
  assert.deepEqual(
    of(['ALL'], ['MKNOD']),
    CAPABILITIES.filter((each) => each !== 'CAP_MKNOD'),
  )
  assert.ok(!of([], ['mknod']).includes('CAP_MKNOD'))
  assert.ok(of(['MKNOD'], ['MKNOD']).includes('CAP_MKNOD'))
  assert.deepEqual(boundingSet({ privileged: true, capDrop: ['ALL'] }, ['CAP_CHOWN']), ['CAP_CHOWN'])
  assert.throws(() => boundingSet({ capAdd: ['BPF'] }, DEFAULT_CAPABILITIES), { code: 'failed_precondition' })
})

test('whatever is asked for, nobody gets a capability that the daemon has not', () => {
  const names = fc.constantFrom(...CAPABILITIES, 'ALL', 'all', 'chown')
  const lists = fc.array(names, { maxLength: 4 })
  const sets = fc.subarray([...CAPABILITIES])
  fc.assert(
    fc.property(lists, lists, fc.boolean(), sets, (capAdd, capDrop, privileged, more) => {
      const available = [...new Set([...DEFAULT_CAPABILITIES, ...more])]
      try {
        const bounding = boundingSet({ capAdd, capDrop, privileged }, available)
        assert.ok(bounding.every((each) => available.includes(each)))
        assert.equal(new Set(bounding).size, bounding.length)
      } catch (error) {
        assert.match(String(error), /has not got it itself/)
      }
    }),
  )
})

test('a privileged container is open, but for what is asked for', () => {
  const fuse = { path: '/dev/fuse', type: 'c', major: 10, minor: 229, permissions: 'rwm' } as const
  const { process, linux, mounts } = build({ privileged: true }, { devices: [fuse], capabilities: CAPABILITIES })
  assert.equal(process.noNewPrivileges, false)
  assert.deepEqual(process.capabilities.bounding, CAPABILITIES)
  assert.deepEqual([linux.seccomp, linux.maskedPaths, linux.readonlyPaths], [undefined, [], []])
  assert.deepEqual(linux.resources.devices.at(-1), { allow: true, access: 'rwm' })
  assert.deepEqual(linux.devices, [{ path: '/dev/fuse', type: 'c', major: 10, minor: 229 }])
  for (const { destination, options } of mounts) if (destination.startsWith('/sys')) assert.ok(options.includes('rw'))
  const guarded = build({
    privileged: true,
    security: { noNewPrivileges: true, seccomp: { defaultAction: 'SCMP_ACT_LOG' } },
  })
  assert.equal(guarded.process.noNewPrivileges, true)
  assert.deepEqual(guarded.linux.seccomp, { defaultAction: 'SCMP_ACT_LOG', syscalls: [] })
})

test('namespaces are left out, joined or added', () => {
  const typesOf = (options: object, more: Partial<SpecInput> = {}) =>
    build(options, {}, more).linux.namespaces.map(({ type }) => type)
  assert.deepEqual(typesOf({ pid: 'host', ipc: 'host', uts: 'host' }), ['mount', 'network'])
  assert.ok(typesOf({ cgroupns: 'private' }).includes('cgroup'))
  assert.ok(!typesOf({ cgroupns: 'host' }, { cgroupVersion: 2 }).includes('cgroup'))
  const joined = build({ pid: 'container:a' }, { namespaces: { pid: '/proc/7/ns/pid' } }).linux.namespaces
  assert.deepEqual(joined[0], { type: 'pid', path: '/proc/7/ns/pid' })
  const { hostname, process } = build({ uts: 'host' }, { hostname: 'metal' })
  assert.equal(hostname, undefined)
  assert.ok(process.env.includes('HOSTNAME=metal'))
})

test('an unlimited ulimit is written as the kernel has it, and read back as itself', () => {
  const limits = rlimitsOf([{ type: 'RLIMIT_NOFILE', hard: 1024, soft: 1024 }], [{ name: 'nofile', soft: 7, hard: -1 }])
  const text = specJson({ limits, env: ['"hard":18446744073709552000}'] })
  assert.match(text, /"hard":18446744073709551615,"soft":7/)
  assert.equal(specJson(JSON.parse(text)), text)
})

test('groups that are asked for come after the own ones, each once', () => {
  const { user } = build({ groupAdd: ['video', '7', '0'] }, {}, { group: 'video:x:44:\n' }).process
  assert.deepEqual(user.additionalGids, [0, 44, 7])
  assert.throws(() => build({ groupAdd: ['4294967296'] }), /out of bounds/)
})

test("of docker's profile the rules count that are for this kernel, machine and set of capabilities", () => {
  const rule = (name: string, more: object) => ({ names: [name], action: 'SCMP_ACT_ALLOW', ...more })
  const profile = seccompProfile.parse({
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: 1,
    archMap: [
      { architecture: 'SCMP_ARCH_AARCH64' },
      { architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86'] },
    ],
    syscalls: [
      rule('read', {}),
      rule('bpf', { includes: { caps: ['CAP_BPF'] } }),
      rule('clone', { excludes: { caps: ['CAP_SYS_ADMIN'] } }),
      rule('arch_prctl', { includes: { arches: ['amd64', 'x32'] } }),
      rule('swapcontext', { includes: { arches: ['ppc64le'] } }),
      rule('ptrace', { includes: { minKernel: '4.8' } }),
      rule('statmount', { includes: { minKernel: '6.8' } }),
    ],
  })
  const resolve = (capabilities: string[], kernel: string) =>
    resolveSeccomp(profile, { capabilities, architecture: 'amd64', kernel })
  const namesOf = (...of: Parameters<typeof resolve>) => resolve(...of).syscalls.flatMap(({ names }) => names)
  assert.deepEqual(namesOf([], '6.1.0-18-amd64'), ['read', 'clone', 'arch_prctl', 'ptrace'])
  assert.deepEqual(namesOf(['CAP_BPF', 'CAP_SYS_ADMIN'], '6.10.1'), [
    'read',
    'bpf',
    'arch_prctl',
    'ptrace',
    'statmount',
  ])
  assert.deepEqual(resolve([], '6.1').architectures, ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'])
  assert.throws(
    () =>
      resolveSeccomp(
        { ...profile, architectures: ['SCMP_ARCH_X86'] },
        { capabilities: [], architecture: 'amd64', kernel: '6' },
      ),
    /both architectures and archMap/,
  )
})

test('what does not go together is said, and what is nobody’s business of a container refused', () => {
  const conflict = (options: object) => optionsConflict(containerOptions.parse(options))?.field
  assert.equal(conflict({ uts: 'host', hostname: 'x' }), 'hostname')
  assert.equal(conflict({ ipc: 'host', shmBytes: 4096 }), 'shmBytes')
  assert.equal(conflict({ ipc: 'host', sysctls: { 'kernel.shmmax': '1' } }), 'sysctls')
  assert.equal(conflict({ resources: { cpus: 1, cpuQuotaUs: 5000 } }), 'resources.cpus')
  assert.equal(
    conflict({ resources: { memoryBytes: 64 << 20, memorySwapBytes: 32 << 20 } }),
    'resources.memorySwapBytes',
  )
  assert.equal(conflict({ resources: { memoryBytes: 64 << 20, memorySwapBytes: -1 } }), undefined)
  for (const name of ['kernel.core_pattern', 'vm.swappiness', 'fs.file-max', 'net', '../../x', 'net.ipv4/../x'])
    assert.equal(containerOptions.safeParse({ sysctls: { [name]: '1' } }).success, false, name)
  for (const rule of ['c 1:3', 'x 1:3 r', 'c 1:3 rwx', 'c -1:3 r'])
    assert.equal(containerOptions.safeParse({ deviceRules: [rule] }).success, false, rule)
})

test('io, huge pages and device rules are in the cgroup’s part', () => {
  const options = {
    deviceRules: ['c 10:* rw', 'b 8:0 r'],
    hugepages: [{ pageSize: '2MB', limitBytes: 1 << 21 }],
    resources: { blkioWeight: 300, cpusetCpus: '0-1', memorySwapBytes: -1 },
  }
  const throttles = { throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 9 }] }
  const { devices, ...limits } = build(options, { throttles }).linux.resources
  assert.deepEqual(devices.slice(-2), [
    { allow: true, type: 'c', major: 10, access: 'rw' },
    { allow: true, type: 'b', major: 8, minor: 0, access: 'r' },
  ])
  assert.deepEqual(limits, {
    memory: { swap: -1 },
    cpu: { cpus: '0-1' },
    blockIO: { weight: 300, ...throttles },
    hugepageLimits: [{ pageSize: '2MB', limit: 1 << 21 }],
  })
})
