import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type CliNode, startCliNode } from '../support/cli.ts'

const loops = { skip: existsSync('/dev/loop-control') ? false : 'there are no loop devices' }

describe('what is mounted', () => {
  let at: CliNode
  before(async () => {
    at = await startCliNode()
  })
  after(() => at[Symbol.asyncDispose]())

  const ok = (...args: string[]) => at.ok(...args)

  test('a volume of the image begins with what the image has, outlives its tasks and goes with the container', async () => {
    const script = 'mkdir -p /srv/data/deep; echo kept > /srv/data/deep/file; mkdir -m 700 /srv/mine'
    await ok('run', '--name', 'base', at.image, 'sh', '-c', `${script}; stat /srv > /dev/null`)
    const volumes = ['--change', 'VOLUME /srv/data', '--change', 'VOLUME /srv/new', '--change', 'VOLUME /srv/mine']
    await ok('commit', ...volumes, 'base', 'voluminous:1')
    await ok('rm', 'base')

    const asked = ['--name', 'v1', '--read-only', '--tmpfs', '/srv/mine:mode=755']
    const write =
      'cat /srv/data/deep/file; echo more >> /srv/data/deep/file; echo n > /srv/new/file; stat -c %a /srv/mine'
    assert.equal(await ok('run', ...asked, 'voluminous:1', 'sh', '-c', write), 'kept\n755')
    const [{ volumes: told }] = JSON.parse(await ok('inspect', 'v1')) as [
      { volumes: { target: string; path: string }[] },
    ]
    assert.deepEqual(
      told.map(({ target }) => target),
      ['/srv/data', '/srv/new'],
    )
    await ok('start', 'v1')
    await ok('wait', 'v1')
    assert.equal(await ok('logs', 'v1'), 'kept\n755\nkept\nmore\n755')
    for (const { path } of told) assert.ok(statSync(path).isDirectory())
    await ok('rm', 'v1')
    for (const { path } of told) assert.equal(existsSync(path), false)
    assert.deepEqual(readdirSync(join(at.node.root, 'containers/default')), [])
  })

  test('files of another image are there read-only, and kept for as long as the container is', async () => {
    await ok('run', '--name', 'data', at.image, 'sh', '-c', 'mkdir /d; echo of the other > /d/file')
    await ok('commit', 'data', 'other:1')
    await ok('rm', 'data')
    const mount = ['--mount', 'type=image,source=other:1,target=/other']
    const script = 'cat /other/d/file; (echo x > /other/d/file) 2>/dev/null || echo refused'
    for (const runtime of ['runc', 'crun']) {
      const ran = await ok('run', '--rm', ...mount, '--runtime', runtime, at.image, 'sh', '-c', script)
      assert.equal(ran, 'of the other\nrefused')
    }
    await ok('create', '--name', 'keeper', ...mount, at.image, 'sh', '-c', script)
    await ok('rmi', '-f', 'other:1')
    await ok('gc')
    await ok('start', 'keeper')
    await ok('wait', 'keeper')
    assert.equal(await ok('logs', 'keeper'), 'of the other\nrefused')
    const [{ imageMounts }] = JSON.parse(await ok('inspect', 'keeper'))
    assert.match(imageMounts[0].manifest, /^sha256:/)
    await ok('rm', 'keeper')
    assert.doesNotMatch(await ok('snapshot', 'ls'), /keeper/)
    const missing = await at.cli('run', '--rm', '--pull', 'never', ...mount, at.image, 'true')
    assert.match(missing.stderr, /image docker\.io\/library\/other:1 is not in namespace default/)
  })

  for (const runtime of ['runc', 'crun']) {
    test(`${runtime}: what is mounted below a bind is left out, writable or read-only, as asked`, async () => {
      const source = join(at.node.dir, `source-${runtime}`)
      mkdirSync(join(source, 'below'), { recursive: true })
      execFileSync('mount', ['-t', 'tmpfs', 'below', join(source, 'below')])
      try {
        const outcomes = async (...more: string[]) => {
          const mount = ['--mount', ['type=bind', `source=${source}`, 'target=/m', 'readonly', ...more].join(',')]
          const script = 'for f in /m/x /m/below/x; do (echo x > $f) 2>/dev/null && echo written || echo refused; done'
          return await ok('run', '--rm', '--runtime', runtime, ...mount, at.image, 'sh', '-c', script)
        }
        assert.equal(await outcomes(), 'refused\nwritten')
        assert.equal(await outcomes('bind-recursive=disabled'), 'refused\nrefused')
        assert.equal(await outcomes('bind-recursive=readonly'), 'refused\nrefused')
      } finally {
        execFileSync('umount', [join(source, 'below')])
      }
    })
  }

  // What is written beside the image can have a bound.
  const fill = 'dd if=/dev/zero of=/big bs=1M count=64 2>&1 | grep -ci "no space"'

  for (const runtime of ['runc', 'crun']) {
    test(
      `${runtime}: a bounded one is full at that size; a commit has what it wrote, and nothing stays`,
      loops,
      async () => {
        const name = `bounded-${runtime}`
        const options = ['--storage-opt', 'size=32m', '--name', name, '--runtime', runtime]
        assert.equal(await ok('run', ...options, at.image, 'sh', '-c', `${fill}; rm /big; echo kept > /kept`), '1')
        await ok('commit', name, `bounded:${runtime}`)
        assert.equal(await ok('run', '--rm', `bounded:${runtime}`, 'cat', '/kept'), 'kept')
        await ok('rm', name)
        assert.deepEqual(readdirSync(join(at.node.root, 'snapshotters/overlayfs/sized')), [])
      },
    )
  }

  test('a bounded one is mounted again after a boot', loops, async () => {
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
