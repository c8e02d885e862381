import assert from 'node:assert/strict'
import { chmodSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type CliNode, startCliNode } from '../support/cli.ts'

const FIRST = 1_879_048_192

describe('a user namespace', () => {
  let at: CliNode
  before(async () => {
    at = await startCliNode()
    // As /run/purser is: root of a user namespace has to reach its root file system.
    chmodSync(at.node.dir, 0o711)
  })
  after(() => at[Symbol.asyncDispose]())

  const ok = (...args: string[]) => at.ok(...args)

  for (const runtime of ['runc', 'crun']) {
    test(`${runtime}: root in it is nobody outside, and its files are root's on disk`, async () => {
      const name = `mapped-${runtime}`
      const script =
        'cat /proc/self/uid_map; echo x > /file; stat -c %u:%g /bin/busybox /file; echo out > /dev/stdout; sleep 100'
      await ok('run', '-d', '--name', name, '--userns', 'auto', '--runtime', runtime, at.image, 'sh', '-c', script)
      const probe = 'id -u; grep CapEff /proc/self/status; (echo 1 > /proc/sys/kernel/hostname) 2>/dev/null || echo no'
      const exec = await ok('exec', name, 'sh', '-c', probe)
      assert.deepEqual(exec.split('\n'), ['0', 'CapEff:\t00000000a80425fb', 'no'])
      const [{ task }] = JSON.parse(await ok('inspect', name))
      assert.deepEqual(task.ids, { hostUid: FIRST, hostGid: FIRST, size: 65_536 })
      assert.equal(statSync(`/proc/${task.pid}`).uid, FIRST)
      const logs = (await ok('logs', name)).split('\n')
      assert.match(logs[0] ?? '', /^\s*0 +1879048192 +65536$/)
      assert.deepEqual(logs.slice(1), ['0:0', '0:0', 'out'])
      await ok('rm', '-f', name)
    })

    test(`${runtime}: in a network, with a volume of its image, as another user`, async () => {
      await ok('run', '--name', 'base', at.image, 'sh', '-c', 'mkdir /v; echo kept > /v/file')
      await ok('commit', '--change', 'VOLUME /v', 'base', 'mapped:1')
      await ok('rm', 'base')
      await ok('network', 'create', 'mapped')
      const options = ['--userns', 'auto', '--runtime', runtime, '--net', 'mapped', '--user', 'user', '--name', 'full']
      const script = 'id -u; stat -c %u /v/file; ls /sys/class | grep -c net; ip -o link | grep -c eth0'
      const ran = await ok('run', ...options, 'mapped:1', 'sh', '-c', script)
      assert.deepEqual(ran.split('\n'), ['1000', '0', '1', '1'])
      const [{ volumes }] = JSON.parse(await ok('inspect', 'full'))
      assert.equal(statSync(join(volumes[0].path, 'file')).uid, 0)
      await ok('rm', 'full')
      await ok('network', 'rm', 'mapped')
    })
  }

  test('two at once have other ids, also over a SIGKILL of the daemon, and those of one that is gone are free', async () => {
    const idsOf = async (userns: string, file: string) => {
      const map = await ok('run', '--rm', '--userns', userns, at.image, 'cat', `/proc/self/${file}`)
      return map.split(/\s+/).map(Number)
    }
    await ok('run', '-d', '--name', 'holder', '--userns', 'auto', at.image, 'sleep', '100')
    await at.node.kill9()
    await at.node.restart()
    assert.deepEqual(await idsOf('auto', 'uid_map'), [0, FIRST + 65_536, 65_536])
    await ok('rm', '-f', 'holder')
    assert.deepEqual(await idsOf('auto', 'uid_map'), [0, FIRST, 65_536])
    assert.deepEqual(await idsOf('70000:80000:1000', 'gid_map'), [0, 80_000, 1000])
  })

  test('what it has no power over is refused', async () => {
    const refuses = async (options: string[], why: RegExp) => {
      const { exitCode, stderr } = await at.cli('run', '--rm', '--userns', 'auto', ...options, at.image, 'true')
      assert.equal(exitCode, 125)
      assert.match(stderr, why)
    }
    await refuses(['--privileged'], /privileged cannot be had with userns auto/)
    await refuses(['--pid', 'host'], /pid host cannot be had with userns auto/)
    await refuses(['--net', 'host'], /network host cannot be had/)
    await refuses(['--userns', '0:0:10'], /none of: host, auto, UID:GID:SIZE/)
    await refuses(
      ['--userns', '70000:70000:10', '--user', '1000'],
      /user 1000:1000 is not in its user namespace, which has 10 ids/,
    )
  })
})
