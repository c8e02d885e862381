import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openFuseOverlayfs } from '../../../src/snapshotters/fuse-overlayfs.ts'
import { hasFuse } from '../../support/fuse.ts'
import { temporaryDirectory } from '../../support/trees.ts'
import { snapshotterContract } from './contract.ts'
import { onDiskContract } from './on-disk.ts'

if (hasFuse()) {
  snapshotterContract('fuse-overlayfs', openFuseOverlayfs)
  onDiskContract('fuse-overlayfs', openFuseOverlayfs)
} else {
  test('fuse-overlayfs: where /dev/fuse cannot be opened, it says so and refuses', async () => {
    using work = temporaryDirectory()
    const signal = AbortSignal.timeout(10_000)
    const snapshotter = await openFuseOverlayfs(work.path)
    assert.match((await snapshotter.unavailable(signal)) ?? '', /\/dev\/fuse cannot be opened/)
    await assert.rejects(snapshotter.create('a', 'active', [], signal), {
      code: 'failed_precondition',
      message: /\/dev\/fuse/,
    })
  })
}
