import assert from 'node:assert/strict'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { mountTemporarily } from '../../../src/host/mounts.ts'
import { openOverlayfs } from '../../../src/snapshotters/overlayfs.ts'
import { temporaryDirectory } from '../../support/trees.ts'
import { snapshotterContract } from './contract.ts'
import { onDiskContract } from './on-disk.ts'

snapshotterContract('overlayfs', openOverlayfs)
onDiskContract('overlayfs', openOverlayfs)

for (const [count, how] of [
  [120, 'their names exceed a page'],
  [450, 'even relative names exceed it'],
] as const) {
  test(`${count} layers below a long path are mounted, though ${how}`, async () => {
    using work = temporaryDirectory()
    const signal = AbortSignal.timeout(60_000)
    const snapshotter = await openOverlayfs(join(work.path, 'long-name-'.repeat(24)))
    const ids = Array.from({ length: count }, (_, at) => `layer${at}`)
    for (const id of ids) {
      await snapshotter.create(id, 'active', [], signal)
      const target = snapshotter.layerTarget(id)
      if (target.placement === 'alone') writeFileSync(join(target.path, id), id)
    }
    await snapshotter.create('top', 'active', ids, signal)
    const directory = process.cwd()
    await using merged = await mountTemporarily(
      await snapshotter.mounts('top', 'active', ids, signal),
      work.path,
      signal,
    )
    assert.equal(readdirSync(merged.path).length, count)
    writeFileSync(join(merged.path, 'layer7'), 'changed')
    assert.equal(readdirSync(merged.path).length, count)
    assert.equal(process.cwd(), directory)
  })
}
