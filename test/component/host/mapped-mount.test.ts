import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chownSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { type IdMap, mountAll, unmount } from '../../../src/host/mounts.ts'
import { NativeSnapshotter } from '../../../src/snapshotters/native.ts'
import { openOverlayfs } from '../../../src/snapshotters/overlayfs.ts'
import type { Snapshotter } from '../../../src/snapshotters/snapshotter.ts'
import { temporaryDirectory } from '../../support/trees.ts'

const signal = AbortSignal.timeout(60_000)
const range = [{ containerId: 0, hostId: 100_000, size: 65_536 }]
const owners: IdMap = { uids: range, gids: range }

/** What root of a user namespace with that map may do. */
const asMappedRoot = (directory: string, script: string) =>
  execFileSync('setpriv', ['--reuid', '100000', '--regid', '100000', '--clear-groups', 'sh', '-ec', script], {
    cwd: directory,
    stdio: 'pipe',
  })

for (const [name, open] of [
  ['overlayfs', openOverlayfs],
  ['native', NativeSnapshotter.open],
] as const) {
  test(`${name}: a snapshot is seen with mapped owners, and what is written there has plain ones on disk`, async () => {
    using work = temporaryDirectory()
    const snapshotter: Snapshotter = await open(join(work.path, 's'))
    const target = join(work.path, 'target')
    mkdirSync(target)
    const mounts = (id: string, kind: 'active' | 'committed', parents: string[]) =>
      snapshotter.mounts(id, kind, parents, signal)
    await snapshotter.create('base', 'active', [], signal)
    await mountAll(await mounts('base', 'active', []), target, signal)
    for (const file of ['kept', 'changed', 'gone']) writeFileSync(join(target, file), 'base')
    chownSync(join(target, 'kept'), 7, 8)
    unmount(target)
    await snapshotter.commit('base', signal)

    await snapshotter.create('top', 'active', ['base'], signal)
    await mountAll(await mounts('top', 'active', ['base']), target, signal, owners)
    const { uid, gid } = statSync(join(target, 'kept'))
    assert.deepEqual([uid, gid], [100_007, 100_008])
    asMappedRoot(target, 'echo new >> changed; rm gone; mkdir d; touch d/file; chmod 700 d')
    unmount(target)

    await mountAll(await mounts('top', 'active', ['base']), target, signal)
    assert.equal(readFileSync(join(target, 'changed'), 'utf8'), 'basenew\n')
    for (const file of ['changed', 'd', 'd/file']) assert.equal(statSync(join(target, file)).uid, 0, file)
    assert.equal(statSync(join(target, 'kept')).uid, 7)
    assert.throws(() => statSync(join(target, 'gone')), { code: 'ENOENT' })
    unmount(target)

    await snapshotter.commit('top', signal)
    await mountAll(await mounts('top', 'committed', ['base']), target, signal, owners)
    assert.equal(statSync(join(target, 'd')).uid, 100_000)
    assert.throws(() => asMappedRoot(target, 'touch x'), /Read-only file system/)
    unmount(target)
  })
}
