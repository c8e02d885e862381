import assert from 'node:assert/strict'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { mountTemporarily } from '../../../src/host/mounts.ts'
import { OverlayfsSnapshotter } from '../../../src/snapshotters/overlayfs.ts'
import { temporaryDirectory } from '../../support/trees.ts'
import { snapshotterContract } from './contract.ts'

snapshotterContract('overlayfs', OverlayfsSnapshotter.open)

test('120 layers below a long path are mounted, though their names exceed a page', async () => {
  using work = temporaryDirectory()
  const signal = AbortSignal.timeout(60_000)
  const snapshotter = await OverlayfsSnapshotter.open(join(work.path, 'long-name-'.repeat(8)))
  const ids = Array.from({ length: 120 }, (_, at) => `layer${at}`)
  for (const id of ids) {
    await snapshotter.create(id, [])
    writeFileSync(join(snapshotter.layerTarget(id).path, id), id)
  }
  await snapshotter.create('top', ids)
  const directory = process.cwd()
  await using merged = await mountTemporarily(snapshotter.mounts('top', 'active', ids), work.path, signal)
  assert.equal(readdirSync(merged.path).length, 120)
  assert.equal(process.cwd(), directory)
})
