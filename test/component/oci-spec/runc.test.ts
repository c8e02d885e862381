import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, rmdir, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { buildSpec } from '../../../src/oci/spec/build-spec.ts'
import { containerOptions } from '../../../src/oci/spec/container-options.ts'
import { buildExecProcess } from '../../../src/oci/spec/exec-process.ts'
import type { Spec } from '../../../src/oci/spec/schema.ts'

const run = promisify(execFile)
const BUSYBOX = '/bin/busybox'
const within = { timeout: 20_000 }

const missing = process.getuid?.() !== 0 ? 'needs root' : existsSync(BUSYBOX) ? false : `needs a static ${BUSYBOX}`
const suite = { skip: missing }

const passwd = 'root:x:0:0::/root:\napp:x:1000:1001::/srv/app:\n'
const group = 'video:x:44:app\n'
const cgroupVersion = existsSync('/sys/fs/cgroup/cgroup.controllers') ? 2 : 1
const cgroupParent = `purser-test-${process.pid}`
const cgroupFiles = {
  1: ['pids/pids.max', 'memory/memory.limit_in_bytes', 'cpu/cpu.cfs_quota_us', 'cpu/cpu.shares'],
  2: ['pids.max', 'memory.max', 'cpu.max'],
}[cgroupVersion].map((file) => `/sys/fs/cgroup/${file}`)
const arch = process.arch === 'x64' ? 'amd64' : process.arch

let dir = ''
let count = 0

before(async () => {
  if (missing !== false) return
  dir = await mkdtemp(join(tmpdir(), 'purser-spec-'))
  const bin = join(dir, 'rootfs/bin')
  await mkdir(bin, { recursive: true })
  await copyFile(BUSYBOX, join(bin, 'busybox'))
  for (const applet of ['sh', 'sleep']) await symlink('busybox', join(bin, applet))
  for (const path of ['etc', 'proc', 'sys', 'dev', 'run', 'tmp', 'data']) await mkdir(join(dir, 'rootfs', path))
})

after(async () => {
  if (dir === '') return
  await rm(dir, { recursive: true, force: true })
  // runc removes the cgroup of a container, not its parents.
  for (const controller of ['', ...(await readdir('/sys/fs/cgroup'))]) {
    const parent = join('/sys/fs/cgroup', controller, cgroupParent)
    if (existsSync(parent)) await rmdir(parent)
  }
})

function specOf(id: string, script: string, options: object): Spec {
  return buildSpec({
    image: { Entrypoint: ['/bin/busybox', 'sh', '-c'], Env: ['FROM=image'], WorkingDir: '/work/dir' },
    options: containerOptions.parse({ args: [script], ...options }),
    id,
    cgroupsPath: `/${cgroupParent}/${id}`,
    rootPath: join(dir, 'rootfs'),
    passwd,
    group,
    arch,
    cgroupVersion,
  })
}

/** Writes the bundle of a container of its own name, and makes sure that nothing is left of it. */
async function bundle(script: string, options: object = {}) {
  const id = `purser-test-${process.pid}-${++count}`
  const path = join(dir, id)
  const spec = specOf(id, script, options)
  await mkdir(path)
  await writeFile(join(path, 'config.json'), JSON.stringify(spec))
  const runc = (verb: string, ...args: string[]) => run('runc', ['--root', join(dir, 'runc'), verb, ...args], within)
  return { id, path, spec, runc, [Symbol.asyncDispose]: async () => void (await runc('delete', '--force', id)) }
}

/** With no stdio: the container would hold on to a pipe of ours. */
async function startDetached(path: string, id: string): Promise<void> {
  const args = ['--root', join(dir, 'runc'), 'run', '--detach', '--bundle', path, id]
  const [code] = await once(spawn('runc', args, { stdio: 'ignore', ...within }), 'exit')
  assert.equal(code, 0)
}

async function output(script: string, options: object = {}): Promise<string[]> {
  await using container = await bundle(script, options)
  const { stdout } = await container.runc('run', '--bundle', container.path, container.id)
  return stdout.trim().split('\n')
}

test('a container of root has the 14 capabilities, no new privileges and a seccomp filter', suite, async () => {
  const status = await output("busybox grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status")
  const fields = Object.fromEntries(status.map((line) => line.split(':\t')))
  assert.equal(fields.CapEff, '00000000a80425fb')
  assert.equal(fields.CapBnd, '00000000a80425fb')
  assert.equal(fields.CapInh, '0000000000000000')
  assert.equal(fields.CapAmb, '0000000000000000')
  assert.equal(fields.NoNewPrivs, '1')
  assert.equal(fields.Seccomp, '2')
})

test('it has its hostname, directory, variables, limits and arguments', suite, async () => {
  const script = 'hostname; pwd; echo "$FROM $HOSTNAME $HOME"; ulimit -n; ulimit -Hn; echo $$; ls /sys/class/net'
  const lines = await output(script.replace('ls ', 'busybox ls ').replace('hostname;', 'busybox hostname;'), {
    hostname: 'web-1',
    env: ['FROM=caller'],
  })
  assert.deepEqual(lines, ['web-1', '/work/dir', 'caller web-1 /root', '1024', '1024', '1', 'lo'])
})

test('a user of the image runs with its groups and without capabilities', suite, async () => {
  const lines = await output(
    'busybox id -u; busybox id -g; busybox id -G; echo $HOME; busybox grep CapEff /proc/self/status',
    { user: 'app' },
  )
  assert.deepEqual(lines, ['1000', '1001', '1001 44', '/srv/app', 'CapEff:\t0000000000000000'])
})

test('what is masked is empty, what is read-only is not written', suite, async () => {
  const lines = await output(`
    busybox cat /proc/keys | busybox wc -c; busybox ls /sys/firmware | busybox wc -l
    for path in /proc/sys/kernel/domainname /proc/sysrq-trigger /sys/kernel/mm/x ${cgroupFiles[0]}; do
      (echo 1 > $path) 2>/dev/null && echo "wrote $path" || echo refused
    done`)
  assert.deepEqual(lines, ['0', '0', 'refused', 'refused', 'refused', 'refused'])
})

test('the root is read-only when asked, while its temporary mounts are not', suite, async () => {
  const script = '(echo x > /tmp/x) 2>/dev/null || echo refused; echo y > /scratch/y && busybox cat /scratch/y'
  const root = join(dir, 'rootfs/scratch')
  await mkdir(root, { recursive: true })
  const options = {
    readOnlyRoot: true,
    workingDir: '/',
    mounts: [{ type: 'tmpfs', target: '/scratch', options: ['size=1m'] }],
  }
  assert.deepEqual(await output(script, options), ['refused', 'y'])
})

test('binds are at their place, the outer one first, and read-only when asked', suite, async () => {
  const source = join(dir, 'source')
  await mkdir(join(source, 'inner'), { recursive: true })
  await writeFile(join(source, 'file'), 'hello\n')
  const lines = await output(
    'busybox cat /data/file; busybox cat /data/inner/file; (echo x > /data/file) 2>/dev/null || echo refused',
    {
      mounts: [
        { type: 'bind', source, target: '/data/inner', options: ['ro'] },
        { type: 'bind', source, target: '/data', options: ['ro'] },
      ],
    },
  )
  assert.deepEqual(lines, ['hello', 'hello', 'refused'])
  assert.equal(await readFile(join(source, 'file'), 'utf8'), 'hello\n')
})

test('what needs more than the default is refused by the kernel', suite, async () => {
  const lines = await output(`
    busybox mount -t tmpfs none /tmp 2>/dev/null || echo mount
    busybox unshare -n true 2>/dev/null || echo unshare
    busybox mknod /tmp/sda b 8 0 2>/dev/null && (busybox head -c1 /tmp/sda) 2>/dev/null || echo device
    busybox hostname other 2>/dev/null || echo hostname; busybox rm -f /tmp/sda`)
  assert.deepEqual(lines, ['mount', 'unshare', 'device', 'hostname'])
})

test('limits reach the cgroup', suite, async () => {
  const lines = await output(`busybox cat ${cgroupFiles.join(' ')}`, {
    resources: { memoryBytes: 64 << 20, cpus: 0.5, cpuShares: 512, pidsLimit: 50 },
  })
  const cpu = cgroupVersion === 1 ? ['50000', '512'] : ['50000 100000']
  assert.deepEqual(lines, ['50', '67108864', ...cpu])
})

test('an exec runs as it was asked', suite, async () => {
  await using container = await bundle('exec sleep 60')
  const { id, path, spec, runc } = container
  await startDetached(path, id)
  const script =
    'busybox id -u; busybox id -G; pwd; echo $HOME $FROM; busybox grep -E "CapEff|Seccomp:" /proc/self/status'
  const request = { args: ['/bin/sh', '-c', script], env: ['FROM=exec'], workingDir: '/tmp', user: 'app', tty: false }
  const file = join(path, 'process.json')
  await writeFile(file, JSON.stringify(buildExecProcess(spec, request, { passwd, group })))
  const { stdout } = await runc('exec', '--process', file, id)
  assert.deepEqual(stdout.trim().split('\n'), [
    '1000',
    '1001 44',
    '/tmp',
    '/srv/app exec',
    'CapEff:\t0000000000000000',
    'Seccomp:\t2',
  ])
})
