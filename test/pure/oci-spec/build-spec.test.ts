import assert from 'node:assert/strict'
import { test } from 'node:test'
import { buildSpec, type ImageProcess, type SpecInput, stopSignalOf } from '../../../src/oci/spec/build-spec.ts'
import { containerOptions } from '../../../src/oci/spec/container-options.ts'

const build = (image: ImageProcess, options: object = {}, more: Partial<SpecInput> = {}) =>
  buildSpec({
    image,
    options: containerOptions.parse(options),
    id: '0123456789abcdef',
    cgroupsPath: '/default/0123456789abcdef',
    arch: 'amd64',
    cgroupVersion: 1,
    ...more,
  })

const shell: ImageProcess = { Entrypoint: ['/entry'], Cmd: ['serve'] }
const argsOf = (image: ImageProcess, options: object = {}) => build(image, options).process.args

test('arguments replace Cmd, an entrypoint replaces Entrypoint and clears Cmd', () => {
  assert.deepEqual(argsOf(shell), ['/entry', 'serve'])
  assert.deepEqual(argsOf(shell, { args: ['check'] }), ['/entry', 'check'])
  assert.deepEqual(argsOf(shell, { args: [] }), ['/entry', 'serve'])
  assert.deepEqual(argsOf(shell, { entrypoint: ['sh'] }), ['sh'])
  assert.deepEqual(argsOf(shell, { entrypoint: ['sh'], args: ['-c', ''] }), ['sh', '-c', ''])
  assert.deepEqual(argsOf(shell, { entrypoint: [''], args: ['ls'] }), ['ls'])
  assert.deepEqual(argsOf({ Cmd: ['ls'], Entrypoint: null }), ['ls'])
})

test('nothing to run is refused with a remedy', () => {
  for (const [image, options] of [
    [{}, {}],
    [{ Cmd: [''] }, {}],
    [shell, { entrypoint: [] }],
    [shell, { entrypoint: [''] }],
  ] as const) {
    assert.throws(() => build(image, options), { code: 'invalid_argument', remedy: /command/ })
  }
})

test('of one variable the last value is taken: default, image, caller', () => {
  const { env } = build(
    { ...shell, Env: ['A=image', 'B=image', 'broken', '=x'] },
    { env: ['A=caller', 'C=1', 'C=2'] },
  ).process
  assert.deepEqual(env, [
    'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    'HOSTNAME=0123456789ab',
    'HOME=/',
    'A=caller',
    'B=image',
    'C=2',
  ])
  assert.ok(build({ ...shell, Env: ['PATH=/bin'] }).process.env.includes('PATH=/bin'))
})

test('a terminal brings TERM', () => {
  const { process } = build(shell, { tty: true })
  assert.equal(process.terminal, true)
  assert.ok(process.env.includes('TERM=xterm'))
  assert.ok(!build(shell).process.env.some((variable) => variable.startsWith('TERM=')))
})

test('the user is looked up in the image, and its home is HOME', () => {
  const passwd = 'app:x:1000:1001::/srv/app:'
  const { process } = build({ ...shell, User: 'app' }, {}, { passwd })
  assert.deepEqual(process.user, { uid: 1000, gid: 1001, additionalGids: [1001] })
  assert.ok(process.env.includes('HOME=/srv/app'))
  assert.equal(build({ ...shell, User: 'app' }, { user: '5' }, { passwd }).process.user.uid, 5)
})

test('a user that is not root holds no capability, and nobody an inheritable one', () => {
  const root = build(shell).process.capabilities
  assert.equal(root.effective?.length, 14)
  const other = build(shell, { user: '1000' }).process.capabilities
  assert.deepEqual(Object.keys(other), ['bounding'])
  assert.ok(!('inheritable' in root) && !('ambient' in root))
})

test('the working directory is absolute', () => {
  assert.equal(build(shell).process.cwd, '/')
  assert.equal(build({ ...shell, WorkingDir: '' }).process.cwd, '/')
  assert.equal(build({ ...shell, WorkingDir: 'app' }).process.cwd, '/app')
  assert.equal(build({ ...shell, WorkingDir: '/app' }, { workingDir: '/w/../x' }).process.cwd, '/x')
})

test('parents are mounted first, and a mount replaces the default at its place', () => {
  const resolvConf = {
    destination: '/etc/resolv.conf',
    type: 'bind',
    source: '/n/resolv.conf',
    options: ['rbind', 'ro'],
  }
  const hosts = { ...resolvConf, destination: '/etc/hosts', source: '/n/hosts' }
  const { mounts } = build(
    shell,
    {
      mounts: [
        { type: 'bind', source: '/b', target: '/data/deep/er' },
        { type: 'bind', source: '/a', target: '/data/', options: ['ro'] },
        { type: 'bind', source: '/h', target: '/etc/hosts' },
        { type: 'tmpfs', target: '/dev/shm', options: ['size=1g', 'exec'] },
      ],
    },
    { networkFiles: [resolvConf, hosts] },
  )
  const at = (destination: string) => mounts.findIndex((mount) => mount.destination === destination)
  assert.equal(new Set(mounts.map((mount) => mount.destination)).size, mounts.length)
  assert.ok(at('/data') < at('/data/deep/er') && at('/dev') < at('/dev/pts') && at('/sys') < at('/sys/fs/cgroup'))
  assert.deepEqual(mounts[at('/data')]?.options, ['rbind', 'rprivate', 'ro'])
  assert.deepEqual(mounts[at('/data/deep/er')]?.options, ['rbind', 'rprivate', 'rw'])
  assert.equal(mounts[at('/etc/hosts')]?.source, '/h')
  assert.deepEqual(mounts[at('/etc/resolv.conf')], resolvConf)
  assert.deepEqual(mounts[at('/dev/shm')]?.options, ['nosuid', 'nodev', 'noexec', 'size=1g', 'exec'])
})

test('limits become cgroup settings, and none are set unasked', () => {
  const { devices: _, ...limits } = build(shell, {
    resources: { memoryBytes: 64 << 20, cpus: 0.3, cpuShares: 512, pidsLimit: 9 },
  }).linux.resources
  assert.deepEqual(limits, {
    memory: { limit: 64 << 20 },
    cpu: { shares: 512, quota: 30_000, period: 100_000 },
    pids: { limit: 9 },
  })
  assert.deepEqual(Object.keys(build(shell).linux.resources), ['devices'])
})

test('all devices are denied before some are allowed', () => {
  const fuse = { path: '/dev/fuse', type: 'c', major: 10, minor: 229 } as const
  const { resources, devices } = build(shell, {}, { host: { devices: [{ ...fuse, permissions: 'rwm' }] } }).linux
  assert.deepEqual(resources.devices[0], { allow: false, access: 'rwm' })
  assert.deepEqual(resources.devices.at(-1), { allow: true, type: 'c', major: 10, minor: 229, access: 'rwm' })
  assert.deepEqual(devices, [fuse])
})

test('host networking shares the network only; version 2 has a cgroup namespace', () => {
  const types = (options: object, more: Partial<SpecInput> = {}) =>
    build(shell, options, more).linux.namespaces.map((namespace) => namespace.type)
  assert.deepEqual(types({}), ['pid', 'ipc', 'uts', 'mount', 'network'])
  assert.deepEqual(types({ network: 'host' }), ['pid', 'ipc', 'uts', 'mount'])
  assert.ok(types({}, { cgroupVersion: 2 }).includes('cgroup'))
})

test('an init is mounted read-only and comes before the program', () => {
  const { process, mounts } = build(shell, {}, { init: '/usr/bin/tini-static' })
  assert.deepEqual(process.args, ['/sbin/docker-init', '--', '/entry', 'serve'])
  const mount = mounts.find(({ destination }) => destination === '/sbin/docker-init')
  assert.equal(mount?.source, '/usr/bin/tini-static')
  assert.ok(mount.options.includes('ro'))
})

test('a hostname, a read-only root, annotations and an OOM score are passed on', () => {
  const options = { hostname: 'web', readOnlyRoot: true, oomScoreAdj: 5 }
  const spec = build(shell, options, { annotations: { a: 'b' } })
  assert.equal(spec.hostname, 'web')
  assert.deepEqual(spec.root, { path: 'rootfs', readonly: true })
  assert.deepEqual(spec.annotations, { a: 'b' })
  assert.equal(spec.process.oomScoreAdj, 5)
})

test('two specs share nothing that one could change in the other', () => {
  const [one, two] = [build(shell), build(shell)]
  one.process.capabilities.bounding.pop()
  one.mounts[0]?.options.pop()
  one.linux.maskedPaths.pop()
  assert.deepEqual(two, build(shell))
})

test("the stop signal is the caller's, the image's, or SIGTERM", () => {
  assert.equal(stopSignalOf({ StopSignal: 'SIGQUIT' }, { stopSignal: 'INT' }), 2)
  assert.equal(stopSignalOf({ StopSignal: 'SIGQUIT' }, {}), 3)
  assert.equal(stopSignalOf({ StopSignal: '' }, {}), 15)
  assert.throws(() => stopSignalOf({ StopSignal: 'SIGNOPE' }, {}), /SIGNOPE/)
})
