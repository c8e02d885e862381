import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type CliNode, startCliNode } from '../support/cli.ts'

const canLoop = existsSync('/dev/loop-control')

describe('a bound of what a container writes', { skip: canLoop ? false : 'there are no loop devices' }, () => {
  let at: CliNode
  before(async () => {
    at = await startCliNode()
  })
  after(() => at[Symbol.asyncDispose]())

  const ok = async (...args: string[]) => {
    const { exitCode, stdout, stderr } = await at.cli(...args)
    assert.equal(exitCode, 0, stderr)
    return stdout.trim()
  }
  const fill = 'dd if=/dev/zero of=/big bs=1M count=64 2>&1 | grep -ci "no space"'

  for (const runtime of ['runc', 'crun']) {
    test(`${runtime}: it is full at that size; a commit has what it wrote, and nothing stays`, async () => {
      const name = `bounded-${runtime}`
      const options = ['--storage-opt', 'size=32m', '--name', name, '--runtime', runtime]
      assert.equal(await ok('run', ...options, at.image, 'sh', '-c', `${fill}; rm /big; echo kept > /kept`), '1')
      await ok('commit', name, `bounded:${runtime}`)
      assert.equal(await ok('run', '--rm', `bounded:${runtime}`, 'cat', '/kept'), 'kept')
      await ok('rm', name)
      assert.deepEqual(readdirSync(join(at.node.root, 'snapshotters/overlayfs/sized')), [])
    })
  }

  test('after a boot it is mounted again', async () => {
    await ok(
      'create',
      '--storage-opt',
      'size=32m',
      '--name',
      'rebooted',
      at.image,
      'sh',
      '-c',
      'cat /kept; echo kept > /kept',
    )
    await ok('start', 'rebooted')
    await ok('wait', 'rebooted')
    await at.node.stop()
    const [mounted = ''] = execFileSync('findmnt', ['-rno', 'TARGET', '-t', 'ext4'], { encoding: 'utf8' })
      .split('\n')
      .filter((target) => target.startsWith(at.node.root))
    execFileSync('umount', [mounted])
    await at.node.restart()
    await ok('start', 'rebooted')
    await ok('wait', 'rebooted')
    assert.match(await ok('logs', 'rebooted'), /^kept$/m)
  })

  test('what cannot be bounded is refused', async () => {
    const refuses = async (options: string[], why: RegExp) => {
      const { exitCode, stderr } = await at.cli('run', '--rm', ...options, at.image, 'true')
      assert.equal(exitCode, 125)
      assert.match(stderr, why)
    }
    await refuses(['--storage-opt', 'size=1m'], /16777216 bytes \(16 MiB\) at least/)
    await refuses(['--storage-opt', 'colour=red'], /is no storage option; write size=BYTES/)
    await refuses(
      ['--storage-opt', 'size=32m', '--snapshotter', 'native'],
      /the snapshotter native cannot bound a size/,
    )
    await refuses(['--storage-opt', 'size=32m', '--userns', 'auto'], /storageBytes cannot be had with userns auto/)
  })
})
