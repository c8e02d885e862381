import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { CGROUP_ROOT, removeCgroups } from '../../src/host/cgroups.ts'
import { CAPABILITIES } from '../../src/oci/spec/capabilities.ts'
import { type CliNode, startCliNode } from '../support/cli.ts'

/** Some machines that run tests, as CI's, have not all of them. */
const own = BigInt(`0x${/^CapEff:\s*(\w+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]}`)
const mayRaise = (own >> BigInt(CAPABILITIES.indexOf('CAP_SYS_RESOURCE'))) & 1n
const isV1 = !readFileSync('/proc/self/cgroup', 'utf8').startsWith('0::')

const isReadable = (() => {
  try {
    return readFileSync('/proc/sys/kernel/dmesg_restrict', 'utf8') !== '' && existsSync('/dev/kmsg')
  } catch {
    return false
  }
})()

const parent = `/purser-test-${process.pid}`

describe('how far a container is kept apart', () => {
  let at: CliNode
  before(async () => {
    at = await startCliNode()
  })
  after(async () => {
    await at[Symbol.asyncDispose]()
    await removeCgroups([parent])
  })

  const run = (...args: string[]) => at.cli('run', '--rm', ...args)
  const lines = async (options: readonly string[], script: string) => {
    const { exitCode, stdout, stderr } = await run(...options, at.image, 'sh', '-c', script)
    assert.equal(exitCode, 0, stderr)
    return stdout.trimEnd().split('\n')
  }
  const refuses = async (options: readonly string[], why: RegExp) => {
    const { exitCode, stderr } = await run(...options, at.image, 'true')
    assert.equal(exitCode, 125)
    assert.match(stderr, why)
  }

  for (const runtime of ['runc', 'crun']) {
    const options = (...more: string[]) => ['--runtime', runtime, ...more]

    test(`${runtime}: capabilities, groups, limits, devices, kernel parameters, names`, async () => {
      const found = await lines(
        options(
          ...['--cap-drop', 'ALL', '--cap-add', 'NET_ADMIN', '--cap-add', 'cap_chown', '--group-add', '44'],
          ...['--ulimit', 'nofile=100:200', '--ulimit', 'core=0', '--oom-score-adj', '900'],
          ...['--device', '/dev/fuse:/dev/burner:rw', '--sysctl', 'net.core.somaxconn=99', '--shm-size', '1m'],
          ...['--sysctl', 'kernel.msgmax=4096', '--hostname', 'web', '--domainname', 'example.org'],
          ...['--tmpfs', '/scratch:size=64k,exec'],
        ),
        `grep CapEff /proc/self/status; id -G; ulimit -n; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj
         stat -c '%t:%T' /dev/burner; cat /proc/sys/net/core/somaxconn /proc/sys/kernel/msgmax
         hostname; cat /proc/sys/kernel/domainname; mount | grep -c -E 'shm.*size=1024k|scratch.*size=64k'`,
      )
      const bits = (1n << BigInt(CAPABILITIES.indexOf('CAP_NET_ADMIN'))) | 1n
      const capabilities = `CapEff:\t${bits.toString(16).padStart(16, '0')}`
      const [groups, limits] = ['0 44', ['100', '200', '0', '900']]
      assert.deepEqual(found, [capabilities, groups, ...limits, 'a:e5', '99', '4096', 'web', 'example.org', '2'])
    })

    test(`${runtime}: --privileged has what the daemon has, and nothing is hidden`, async () => {
      const found = await lines(
        options('--privileged'),
        `grep -E 'CapEff|Seccomp:|NoNewPrivs' /proc/self/status; stat -c %t:%T /dev/fuse
         mount | grep -c -E ' on /proc/|/sys/firmware'; mount | grep ' on /sys type' | grep -c rw; (echo 1 > /dev/null) && echo writes`,
      )
      assert.deepEqual(found, [
        `CapEff:\t${own.toString(16).padStart(16, '0')}`,
        'NoNewPrivs:\t0',
        'Seccomp:\t0',
        'a:e5',
        '0',
        '1',
        'writes',
      ])
    })

    test(`${runtime}: namespaces are shared with the host or another container`, async () => {
      const other = ['run', '-d', '--name', `other-${runtime}`, '--ipc', 'shareable', '--runtime', runtime, at.image]
      const started = await at.cli(...other, 'sleep', '100')
      assert.equal(started.exitCode, 0, started.stderr)
      await at.cli('exec', `other-${runtime}`, 'sh', '-c', 'echo kept > /dev/shm/x')
      const [pid, ipc, shm, shown] = await lines(
        options('--pid', `container:other-${runtime}`, '--ipc', `container:other-${runtime}`),
        `ls -l /proc/1/ns/pid /proc/self/ns/pid | grep -o 'pid:.*' | uniq | wc -l
         ls -l /proc/1/ns/ipc /proc/self/ns/ipc | grep -o 'ipc:.*' | uniq | wc -l
         cat /dev/shm/x; cat /proc/1/cmdline | grep -c sleep`,
      )
      assert.deepEqual([pid, ipc, shm, shown], ['1', '1', 'kept', '1'])
      await at.cli('rm', '-f', `other-${runtime}`)
      const host = await lines(
        options('--pid', 'host', '--uts', 'host', '--ipc', 'host'),
        'hostname; echo $HOSTNAME $$',
      )
      assert.equal(host[0], hostname())
      const [name, self] = host[1]?.split(' ') ?? []
      assert.equal(name, hostname())
      assert.notEqual(self, '1')
    })

    test(`${runtime}: a seccomp profile of one's own, without one, and setuid programs`, async () => {
      const file = join(at.node.dir, 'profile.json')
      const rules = [
        { names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 95, args: null },
        { names: ['chmod', 'fchmodat', 'fchmodat2'], action: 'SCMP_ACT_ERRNO', includes: { caps: ['CAP_SYS_BOOT'] } },
      ]
      const archMap = [{ architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86'] }]
      writeFileSync(file, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', archMap, syscalls: rules }))
      const script = 'mkdir /x 2>&1; grep -E "Seccomp:|NoNewPrivs" /proc/self/status'
      const security = ['--security-opt', 'no-new-privileges=false', '--security-opt']
      const [mkdir, ...status] = await lines(options(...security, `seccomp=${file}`), script)
      assert.match(mkdir ?? '', /not supported/i)
      assert.deepEqual(status, ['NoNewPrivs:\t0', 'Seccomp:\t2'])
      assert.deepEqual(await lines(options(...security, 'seccomp=unconfined'), script), [
        'NoNewPrivs:\t0',
        'Seccomp:\t0',
      ])
    })

    test(`${runtime}: limits of CPUs, memory and disks reach the cgroup`, {
      skip: !isV1 || !existsSync('/dev/loop0'),
    }, async () => {
      const limits = ['-m', '64m', '--memory-swap', '128m', '--memory-reservation', '32m', '--cpu-shares', '512']
      const cpus = ['--cpu-quota', '30000', '--cpu-period', '60000', '--cpuset-cpus', '0', '--pids-limit', '33']
      const file = (path: string) => `/sys/fs/cgroup/${path}`
      const found = await lines(
        options(...limits, ...cpus, '--oom-kill-disable', '--device-read-bps', '/dev/loop0:1m'),
        `cat ${file('memory/memory.memsw.limit_in_bytes')} ${file('memory/memory.soft_limit_in_bytes')} \
          ${file('cpu/cpu.shares')} ${file('cpu/cpu.cfs_quota_us')} ${file('cpu/cpu.cfs_period_us')} \
          ${file('cpuset/cpuset.cpus')} ${file('pids/pids.max')}; head -n 1 ${file('memory/memory.oom_control')}; \
          cat ${file('blkio/blkio.throttle.read_bps_device')}`,
      )
      const memory = [String(128 << 20), String(32 << 20)]
      assert.deepEqual(found, [...memory, '512', '30000', '60000', '0', '33', 'oom_kill_disable 1', '7:0 1048576'])
    })
  }

  test('what cannot be had is refused, with the reason', async () => {
    await refuses(['--sysctl', 'kernel.panic=1'], /kernel\.panic is no setting of a container's own/)
    await refuses(['--device', '/dev/nope'], /\/dev\/nope is not on this host/)
    await refuses(['--device', '/etc/passwd'], /\/etc\/passwd is no device/)
    await refuses(['--device-read-bps', '/dev/null:1m'], /\/dev\/null is no block device/)
    await refuses(
      ['--pid', 'container:nobody'],
      /container nobody, whose pid namespace is asked for, is not in namespace default.*purser ps -a/s,
    )
    await refuses(['--cpuset-cpus', '4000'], /CPU 4000 of 4000 is not online here/)
    await refuses(['--security-opt', 'label=type:x_t'], /SELinux, whose labels Purser does not set/)
    await refuses(['--security-opt', 'apparmor=nope'], /nope.*(?:not on in this kernel|is not loaded)/)
    await refuses(['--group-add', 'nobodies'], /nobodies/)
    await refuses(['--hugetlb-limit', '3MB=64m'], /hugetlb|no pages of 3MB/)
  })

  test('what the daemon cannot give is refused before anything is made', { skip: mayRaise === 1n }, async () => {
    await refuses(['--cap-add', 'SYS_RESOURCE'], /CAP_SYS_RESOURCE is asked for, and the daemon has not got it/)
    await refuses(['--ulimit', 'nofile=-1'], /nofile=unlimited is above the daemon's own hard limit/)
    await refuses(['--oom-score-adj', '-500'], /-500 is below the daemon's own/)
  })

  test('inspect tells what was asked for', async () => {
    await at.cli('create', '--name', 'told', '--cap-add', 'NET_ADMIN', '--ulimit', 'nofile=5', at.image, 'true')
    const [{ options }] = JSON.parse((await at.cli('inspect', 'told')).stdout)
    assert.deepEqual([options.capAdd, options.ulimits], [['NET_ADMIN'], [{ name: 'nofile', soft: 5, hard: 5 }]])
  })

  for (const runtime of ['runc', 'crun']) {
    test(`${runtime}: it is below the one that is asked for, and goes with the task`, async () => {
      const options = ['--name', 'inside', '--cgroup-parent', parent, '--runtime', runtime]
      const ran = await at.cli('run', '-d', ...options, at.image, 'sleep', '100')
      assert.equal(ran.exitCode, 0, ran.stderr)
      const [{ task }] = JSON.parse((await at.cli('inspect', 'inside')).stdout)
      const own = `${parent}/default--inside`
      const lines = readFileSync(`/proc/${task.pid}/cgroup`, 'utf8').split('\n')
      assert.ok(
        lines.some((line) => line.endsWith(own)),
        lines.join(' '),
      )
      // Pausing and signals of a stop find it too.
      assert.equal((await at.cli('pause', 'inside')).exitCode, 0)
      assert.equal((await at.cli('unpause', 'inside')).exitCode, 0)
      assert.equal((await at.cli('rm', '-f', 'inside')).exitCode, 0)
      for (const controller of ['pids', 'memory', 'unified', '.'])
        assert.equal(existsSync(`${CGROUP_ROOT}/${controller}${own}`), false, controller)
    })
  }

  test('a parent of the other driver, and a driver that is not there, are refused', async () => {
    const { exitCode, stderr } = await at.cli('run', '--rm', '--cgroup-parent', 'ci.slice', at.image, 'true')
    assert.equal(exitCode, 125)
    assert.match(stderr, /ci\.slice is no parent for a cgroup with the driver cgroupfs; name a path/)
    if (existsSync('/run/systemd/system')) return
    const config = `${at.node.dir}/systemd.toml`
    await writeFile(config, '[cgroup]\ndriver = "systemd"\n')
    const dirs = ['--root', `${at.node.dir}/other-root`, '--state', `${at.node.dir}/other-run`]
    const daemon = await at.cli('daemon', '--config', config, ...dirs)
    assert.match(daemon.stderr, /cgroup\.driver = "systemd": this machine was not booted with systemd/)
    assert.notEqual(daemon.exitCode, 0)
  })

  test('a process that is ended for want of memory is recorded with its name', { skip: !isReadable }, async () => {
    // The first process goes on: it is one of its children that takes too much.
    const hog = 'sh -c "exec tail /dev/zero"; echo survived'
    const ran = await at.cli('run', '--name', 'hungry', '-m', '16m', at.image, 'sh', '-c', hog)
    assert.equal(ran.stdout, 'survived\n')
    const [{ task }] = JSON.parse((await at.cli('inspect', 'hungry')).stdout)
    assert.equal(task.oomKills, 1)
    assert.equal(task.oomVictim?.name, 'tail')
    assert.equal((await at.cli('run', '--name', 'gone', '-m', '16m', at.image, 'tail', '/dev/zero')).exitCode, 137)
    const [gone] = JSON.parse((await at.cli('inspect', 'gone')).stdout)
    assert.deepEqual([gone.task.reason, gone.task.oomKills], ['oom', 1])
  })
})
