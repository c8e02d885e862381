import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Snapshotter } from '../../../src/snapshotters/snapshotter.ts'
import { temporaryDirectory } from '../../support/trees.ts'

/** What Purser's own snapshotters do besides, which have a directory for each snapshot. */
export function onDiskContract(name: string, open: (root: string) => Promise<Snapshotter>): void {
  const signal = AbortSignal.timeout(60_000)

  test(`${name}: what a crash left half removed is not listed, and goes when it is opened again`, async () => {
    using work = temporaryDirectory()
    const snapshotter = await open(work.path)
    await snapshotter.create('a', 'active', [], signal)
    const trash = join(work.path, 'snapshots', 'trash-gone')
    mkdirSync(join(trash, 'fs'), { recursive: true })
    assert.deepEqual(await snapshotter.list(signal), ['a'])
    const again = await open(work.path)
    assert.deepEqual(await again.list(signal), ['a'])
    assert.ok(!existsSync(trash))
    await again.remove('a', signal)
    assert.deepEqual(readdirSync(join(work.path, 'snapshots')), [])
  })
}
