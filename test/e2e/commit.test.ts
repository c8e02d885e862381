import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { pushTinyImage } from '../../scripts/tiny-image.ts'
import { startContainerd } from '../support/containerd.ts'
import { startNode, type TestNode } from '../support/daemon.ts'
import { hasFuse } from '../support/fuse.ts'
import { startRegistry } from '../support/registry.ts'

async function succeed(node: TestNode, ...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await node.cli(...args)
  assert.equal(exitCode, 0, `purser ${args.join(' ')}: ${stderr}`)
  return stdout.trim()
}

for (const snapshotter of ['overlayfs', 'native', ...(hasFuse() ? ['fuse-overlayfs'] : []), 'remote']) {
  test(`a container is committed as an image, which runs with what was changed (${snapshotter})`, async () => {
    await using containerd = snapshotter === 'remote' ? await startContainerd() : undefined
    const config = containerd
      ? `[snapshotter.remote]\ntype = "proxy"\naddress = "${containerd.address}"\nsnapshotter = "overlayfs"\n`
      : ''
    await using registry = await startRegistry()
    await using node = await startNode({ config })
    const image = await pushTinyImage({ registry: registry.address, repository: 'base', tag: 'latest' })
    const script = 'echo new > /etc/new; rm /bin/wc; mkdir /d && chmod 700 /d && echo in > /d/in; sleep 600'
    await succeed(
      node,
      'run',
      '-d',
      '--name',
      'c1',
      '--snapshotter',
      snapshotter,
      '-e',
      'SECRET=canary',
      image,
      'sh',
      '-c',
      script,
    )
    while ((await node.cli('exec', 'c1', 'cat', '/d/in')).stdout !== 'in\n') await delay(50)
    const changes = ['-c', 'ENV A=b', '-c', 'CMD ["cat","/etc/new"]', '-c', 'LABEL of=test']
    const digest = await succeed(node, 'commit', '-a', 'me', '-m', 'a file', ...changes, 'c1', 'made:one')
    assert.match(digest, /^sha256:[0-9a-f]{64}$/)
    assert.equal((await node.http('GET', '/v1/containers/c1')).json instanceof Object, true)
    assert.match(await succeed(node, 'ps'), /c1/) // It runs on.

    assert.equal(await succeed(node, 'run', '--rm', '--snapshotter', snapshotter, 'made:one'), 'new')
    const look = 'ls /bin/wc; stat -c %a /d; cat /d/in; echo $A-$SECRET'
    const seen = await node.cli('run', '--rm', '--snapshotter', snapshotter, 'made:one', 'sh', '-c', look)
    assert.equal(seen.stdout, '700\nin\nb-\n')
    assert.match(seen.stderr, /wc: No such file/)

    // Nothing of what is used goes, also once the container and its own image are gone.
    await succeed(node, 'rm', '-f', 'c1')
    await succeed(node, 'rmi', image)
    await succeed(node, 'gc')
    assert.equal(await succeed(node, 'run', '--rm', '--snapshotter', snapshotter, 'made:one'), 'new')
    const history = await succeed(node, 'history', 'made:one')
    assert.match(history, /commit/)
    const usage = JSON.parse(await succeed(node, 'snapshot', 'usage', '--image', 'made:one', '--format', 'json'))[0]
    assert.ok(usage.uniqueBytes > 0)
    assert.equal(usage.sizeBytes, usage.uniqueBytes + usage.sharedBytes)
    const { exitCode, stdout } = await node.cli('state', 'rebuild', '--check')
    assert.equal(exitCode, 0, stdout)
    await succeed(node, 'rmi', 'made:one')
  })
}

test('snapshots are prepared, written to, turned into a layer, and that is applied again', async () => {
  await using registry = await startRegistry()
  await using node = await startNode()
  const image = await pushTinyImage({ registry: registry.address, repository: 'base', tag: 'latest' })
  await succeed(node, 'run', '--name', 'c1', image, 'sh', '-c', 'echo x > /etc/x')
  const digest = await succeed(node, 'snapshot', 'diff', 'c1', '--compression', 'zstd')
  const parent = JSON.parse(await succeed(node, 'inspect', 'overlayfs/c1', '--type', 'snapshot'))[0].parent
  assert.equal(await succeed(node, 'snapshot', 'prepare', 'work', parent), 'overlayfs/work')
  await succeed(node, 'snapshot', 'apply', 'work', digest)
  assert.equal(await succeed(node, 'snapshot', 'commit', 'kept', 'work'), 'kept')
  await succeed(node, 'snapshot', 'view', 'look', 'kept')
  // Whoever made them keeps them.
  await succeed(node, 'gc')
  const keys = (await succeed(node, 'snapshot', 'ls')).split('\n').map((line) => line.split(/\s+/)[1])
  assert.deepEqual(keys.filter((key) => key === 'kept' || key === 'look').sort(), ['kept', 'look'])
  const again = JSON.parse(await succeed(node, 'snapshot', 'diff', 'kept', '--format', 'json'))
  const first = JSON.parse(await succeed(node, 'snapshot', 'diff', 'c1', '--format', 'json'))
  assert.equal(again.diffId, first.diffId)
  const usage = JSON.parse(await succeed(node, 'snapshot', 'usage', 'kept', '--format', 'json'))[0]
  assert.ok(usage.sizeBytes < usage.totalBytes)
  const refused = await node.cli('snapshot', 'rm', 'kept')
  assert.match(refused.stderr, /overlayfs\/kept is the parent of overlayfs\/look/)
  await succeed(node, 'snapshot', 'rm', 'look', 'kept')
})

test('snapshotters are listed with the reason why one cannot be used, and asking it says the same', async () => {
  const config = '[snapshotter.away]\ntype = "proxy"\naddress = "/nobody/there.sock"\n'
  await using registry = await startRegistry()
  await using node = await startNode({ config })
  const image = await pushTinyImage({ registry: registry.address, repository: 'base', tag: 'latest' })
  const listed = await succeed(node, 'snapshotter', 'ls')
  assert.match(listed, /^overlayfs +overlay +ok/m)
  assert.match(listed, /^away +proxy +unavailable .*\/nobody\/there\.sock does not answer/m)
  const refused = await node.cli('pull', '--snapshotter', 'away', image)
  assert.match(refused.stderr, /\/nobody\/there\.sock does not answer/)
  assert.notEqual(refused.exitCode, 0)
  const unknown = await node.cli('pull', '--snapshotter', 'zfs', image)
  assert.match(unknown.stderr, /there is no snapshotter zfs/)
})
