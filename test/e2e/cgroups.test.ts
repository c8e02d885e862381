import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { after, before, describe, test } from 'node:test'
import { CGROUP_ROOT, removeCgroups } from '../../src/host/cgroups.ts'
import { type CliNode, startCliNode } from '../support/cli.ts'

const isReadable = (() => {
  try {
    return readFileSync('/proc/sys/kernel/dmesg_restrict', 'utf8') !== '' && existsSync('/dev/kmsg')
  } catch {
    return false
  }
})()

describe('the cgroup of a task', () => {
  const parent = `/purser-test-${process.pid}`
  let at: CliNode
  before(async () => {
    at = await startCliNode()
  })
  after(async () => {
    await at[Symbol.asyncDispose]()
    await removeCgroups([parent])
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
