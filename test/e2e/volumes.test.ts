import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type CliNode, startCliNode } from '../support/cli.ts'

describe('what is mounted', () => {
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
})
