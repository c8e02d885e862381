import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { mountTemporarily } from '../../../src/host/mounts.ts'
import type { SnapshotKind, Snapshotter } from '../../../src/snapshotters/snapshotter.ts'
import { describeTree, temporaryDirectory } from '../../support/trees.ts'

/**
 * What every snapshotter does.
 *
 * @param open the snapshotter, in a new directory as the daemon opens it, or all its own
 * @param options.rootOf whether the root directory of a snapshot looks as its parent's; containerd keeps its owner alone
 */
export function snapshotterContract(
  name: string,
  open: (root: string) => Promise<Snapshotter>,
  { rootOf = 'parent' }: { rootOf?: 'parent' | 'containerd' } = {},
): void {
  const signal = AbortSignal.timeout(120_000)
  const describe = (path: string) => describeTree(path, [], rootOf === 'containerd' ? [''] : [])

  async function start() {
    const work = temporaryDirectory()
    const root = join(work.path, 'root')
    const snapshotter = await open(root)
    /** Mounts, calls, unmounts. */
    const within = async <T>(
      id: string,
      kind: SnapshotKind,
      parents: string[],
      call: (path: string) => T,
    ): Promise<T> => {
      await using mounted = await mountTemporarily(
        await snapshotter.mounts(id, kind, parents, signal),
        work.path,
        signal,
      )
      return call(mounted.path)
    }
    const dispose = () => work[Symbol.dispose]()
    return { snapshotter, root, within, [Symbol.dispose]: dispose }
  }

  test(`${name}: what is written to an active snapshot is seen once it is committed, read-only`, async () => {
    using node = await start()
    await node.snapshotter.create('a', 'active', [], signal)
    await node.within('a', 'active', [], (path) => writeFileSync(join(path, 'file'), 'text'))
    await node.snapshotter.commit('a', signal)
    await node.snapshotter.commit('a', signal)
    await node.within('a', 'committed', [], (path) => {
      assert.equal(readFileSync(join(path, 'file'), 'utf8'), 'text')
      assert.throws(() => writeFileSync(join(path, 'file'), 'changed'), { code: 'EROFS' })
    })
  })

  test(`${name}: a snapshot shows its parents, and leaves them as they are`, async () => {
    using node = await start()
    await node.snapshotter.create('base', 'active', [], signal)
    await node.within('base', 'active', [], (path) => {
      mkdirSync(join(path, 'dir'))
      for (const file of ['kept', 'changed', 'deleted', 'dir/in']) writeFileSync(join(path, file), 'base')
    })
    await node.snapshotter.commit('base', signal)
    await node.snapshotter.create('mid', 'active', ['base'], signal)
    await node.within('mid', 'active', ['base'], (path) => {
      writeFileSync(join(path, 'changed'), 'mid')
      rmSync(join(path, 'deleted'))
      rmSync(join(path, 'dir'), { recursive: true })
      mkdirSync(join(path, 'dir'))
      writeFileSync(join(path, 'dir/other'), 'mid')
    })
    await node.snapshotter.commit('base', signal)
    const base = await node.within('base', 'committed', [], describe)
    assert.deepEqual(Object.keys(base), ['', 'changed', 'deleted', 'dir', 'dir/in', 'kept'])

    await node.snapshotter.commit('mid', signal)
    await node.snapshotter.create('top', 'active', ['mid', 'base'], signal)
    await node.snapshotter.create('look', 'view', ['mid', 'base'], signal)
    const mid = await node.within('mid', 'committed', ['base'], describe)
    const top = await node.within('top', 'active', ['mid', 'base'], describe)
    const look = await node.within('look', 'view', ['mid', 'base'], describe)
    assert.deepEqual(Object.keys(mid), ['', 'changed', 'dir', 'dir/other', 'kept'])
    assert.deepEqual(top, mid)
    assert.deepEqual(look, mid)
    await assert.rejects(
      node.within('look', 'view', ['mid', 'base'], (path) => writeFileSync(join(path, 'x'), '')),
      { code: 'EROFS' },
    )
  })

  test(`${name}: a snapshot has every attribute of its parent, of the root too`, async () => {
    using node = await start()
    await node.snapshotter.create('base', 'active', [], signal)
    await node.within('base', 'active', [], (path) => {
      const script = `
        printf a > hard1 && ln hard1 hard2 && ln -s hard1 link && mkfifo fifo && mknod null c 1 3
        printf cap > cap && setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 cap
        printf su > su && chown 3:4 su && chmod 4755 su && touch -d '2001-02-03 04:05:06.123456789' su
        truncate -s 1M hole && mkdir d && setfattr -n user.a -v b d && touch -d '2002-02-02' d`
      execFileSync('sh', ['-ec', script], { cwd: path })
      chownSync(path, 7, 8)
      chmodSync(path, 0o1751)
    })
    await node.snapshotter.commit('base', signal)
    const base = await node.within('base', 'committed', [], describe)
    await node.snapshotter.create('top', 'active', ['base'], signal)
    assert.deepEqual(await node.within('top', 'active', ['base'], describe), base)
  })

  test(`${name}: removal is complete, also of names that are not UTF-8, and may be repeated`, async () => {
    using node = await start()
    await node.snapshotter.create('a', 'active', [], signal)
    await node.snapshotter.create('b', 'active', [], signal)
    await node.within('a', 'active', [], (path) => {
      mkdirSync(Buffer.concat([Buffer.from(`${path}/`), Buffer.from([0xfc])]))
      writeFileSync(Buffer.concat([Buffer.from(`${path}/`), Buffer.from([0xfc, 0x2f, 0xe9])]), 'x')
    })
    assert.deepEqual((await node.snapshotter.list(signal)).sort(), ['a', 'b'])
    await node.snapshotter.remove('a', signal)
    await node.snapshotter.remove('a', signal)
    assert.deepEqual(await node.snapshotter.list(signal), ['b'])
  })

  test(`${name}: usage counts hard links once and holes not at all`, async () => {
    using node = await start()
    await node.snapshotter.create('a', 'active', [], signal)
    const before = await node.snapshotter.usage('a', signal)
    await node.within('a', 'active', [], (path) => {
      const script = 'head -c 1000000 /dev/urandom > x && ln x y && truncate -s 10M hole'
      execFileSync('sh', ['-ec', script], { cwd: path })
    })
    const { sizeBytes, inodes } = await node.snapshotter.usage('a', signal)
    assert.equal(inodes - before.inodes, 2)
    assert.ok(sizeBytes - before.sizeBytes >= 1_000_000 && sizeBytes - before.sizeBytes < 1_100_000, `${sizeBytes}`)
  })

  test(`${name}: it can be used here, and lists what it has`, async () => {
    using node = await start()
    assert.equal(await node.snapshotter.unavailable(signal), undefined)
    assert.deepEqual(await node.snapshotter.list(signal), [])
    await node.snapshotter.create('a', 'active', [], signal)
    await node.snapshotter.commit('a', signal)
    await node.within('a', 'committed', [], () => {})
    await node.snapshotter.create('b', 'active', ['a'], signal)
    assert.deepEqual((await node.snapshotter.list(signal)).sort(), ['a', 'b'])
    await node.snapshotter.remove('b', signal)
    await node.snapshotter.remove('a', signal)
    assert.deepEqual(await node.snapshotter.list(signal), [])
  })

  test(`${name}: what a layer is extracted into can be written to, and committed`, async () => {
    using node = await start()
    await node.snapshotter.create('base', 'active', [], signal)
    await node.within('base', 'unpacking', [], (path) => writeFileSync(join(path, 'file'), 'base'))
    await node.snapshotter.commit('base', signal)
    await node.snapshotter.create('top', 'active', ['base'], signal)
    await node.within('top', 'unpacking', ['base'], (path) => writeFileSync(join(path, 'file'), 'top'))
    await node.snapshotter.commit('top', signal)
    const read = (path: string) => readFileSync(join(path, 'file'), 'utf8')
    assert.equal(await node.within('top', 'committed', ['base'], read), 'top')
    assert.equal(await node.within('base', 'committed', [], read), 'base')
  })

  test(`${name}: only ids become directories`, async () => {
    using node = await start()
    for (const id of ['..', 'a/b', '', 'trash-x', 'A']) {
      await assert.rejects(node.snapshotter.create(id, 'active', [], signal), { code: 'invalid_argument' })
      await assert.rejects(async () => node.snapshotter.remove(id, signal), { code: 'invalid_argument' })
    }
  })

  test(`${name}: a snapshot is synced to the disk`, async () => {
    using node = await start()
    await node.snapshotter.create('a', 'active', [], signal)
    await node.snapshotter.sync('a', signal)
    await assert.rejects(node.snapshotter.sync('a', AbortSignal.abort(new Error('enough'))), { message: 'enough' })
  })
}
