import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { mountTemporarily } from '../../../src/host/mounts.ts'
import type { DiffSource } from '../../../src/layers/diff/changes.ts'
import { createDiff } from '../../../src/layers/diff/diff.ts'
import { LayerPool } from '../../../src/layers/pool.ts'
import { openOverlayfs } from '../../../src/snapshotters/overlayfs.ts'
import { extractOnParents } from '../../../src/unpack/unpack-layers.ts'
import { layerStack } from '../../support/layer-stacks.ts'
import { sha256 } from '../../support/tars.ts'
import { describeTree, temporaryDirectory } from '../../support/trees.ts'
import { uncounted, writeLayers } from '../../support/unpacking.ts'

/** As in equality.test.ts. */
const seconds = Number(process.env.LAYER_STACKS_SECONDS ?? 6)
const seed = Number(process.env.LAYER_STACKS_SEED ?? Math.floor(Math.random() * 2 ** 30))

const signal = AbortSignal.timeout((seconds + 120) * 1000)
const pool = new LayerPool({ threads: 2, idleMs: 500 })

async function diff(source: DiffSource, compression: 'none' | 'gzip' | 'zstd' = 'gzip') {
  const chunks: Uint8Array[] = []
  const result = await createDiff({ source, compression }, async (chunk) => void chunks.push(chunk), signal)
  const bytes = Buffer.concat(chunks)
  assert.deepEqual([result.digest, result.sizeBytes], [sha256(bytes), bytes.length])
  return { ...result, bytes }
}

test('a layer made of what a snapshot has beside its parents gives the same snapshot, however it was found', async (t) => {
  const counts = { seed, stacks: 0, compared: 0 }
  const property = fc.asyncProperty(layerStack, async (layersOfEntries) => {
    counts.stacks += 1
    using work = temporaryDirectory()
    const snapshotter = await openOverlayfs(join(work.path, 'o'))
    const unpacker = { pool, snapshotter, runDir: work.path }
    const layers = writeLayers(work.path, layersOfEntries)
    const parentsOf = (index: number) => Array.from({ length: index }, (_, at) => `l${index - 1 - at}`)
    for (const [at, layer] of layers.entries()) {
      try {
        await extractOnParents(unpacker, layer, `l${at}`, parentsOf(at), signal)
      } catch {
        return // Not every stack can be applied.
      }
    }
    const top = layers.length - 1
    const parents = parentsOf(top)
    const see = async (id: string, below: readonly string[]) =>
      mountTemporarily(await snapshotter.mounts(id, 'committed', below, signal), work.path, signal)
    await using seen = await see(`l${top}`, parents)
    const [parent, ...others] = parents
    await using lower = parent === undefined ? undefined : await see(parent, others)
    const expected = uncounted(describeTree(seen.path))
    const target = snapshotter.layerTarget(`l${top}`)
    assert.ok(target.placement === 'alone')
    const sources = {
      upper: { from: 'upper-directory', path: target.path },
      comparison: { from: 'comparison', lower: lower?.path, upper: seen.path },
    } as const
    for (const [how, source] of Object.entries(sources)) {
      const { bytes, digest, diffId } = await diff(source)
      const path = join(work.path, `diff-${how}`)
      writeFileSync(path, bytes)
      const layer = { path, digest, diffId, sizeBytes: bytes.length }
      await extractOnParents(unpacker, layer, how, parents, signal)
      await using again = await see(how, parents)
      assert.deepEqual(uncounted(describeTree(again.path)), expected, how)
    }
    counts.compared += 1
  })
  const endMs = performance.now() + seconds * 1000
  for (let batch = 0; performance.now() < endMs; batch += 1) {
    await fc.assert(property, { seed: seed + batch, numRuns: 5, interruptAfterTimeLimit: 60_000 })
  }
  t.diagnostic(JSON.stringify(counts))
  assert.ok(counts.compared > 0)
})

test('the layer is a tar that GNU tar reads, the same each time, without sockets and whiteouts that are files', async () => {
  using work = temporaryDirectory()
  const tree = join(work.path, 'tree')
  mkdirSync(join(tree, 'd'.repeat(120)), { recursive: true })
  writeFileSync(join(tree, 'd'.repeat(120), 'file'), 'x'.repeat(3_000_000))
  writeFileSync(join(tree, '.wh.file'), '')
  writeFileSync(join(tree, 'précis'), 'accent')
  const script = `chown 3000000:4000000 précis && touch -d '1969-12-31 23:59:58.25' précis && ln précis hard &&
    mknod null c 1 3 && mknod big b 259 70000 && mkfifo fifo && ln -s ${'t'.repeat(150)} link &&
    setfattr -n user.a -v text précis && chmod 7755 précis`
  execFileSync('sh', ['-ec', script], { cwd: tree })
  const server = createServer().listen(join(tree, 'socket'))
  const source = { from: 'comparison', lower: undefined, upper: tree } as const
  const first = await diff(source, 'none')
  assert.deepEqual((await diff(source, 'none')).bytes, first.bytes)
  server.close()
  rmSync(join(tree, '.wh.file'))
  const out = join(work.path, 'out')
  mkdirSync(out)
  const args = ['-xpf', '-', '--numeric-owner', '--xattrs', '--xattrs-include=*', '-C', out]
  execFileSync('tar', args, { input: first.bytes, stdio: ['pipe', 'pipe', 'pipe'] })
  assert.deepEqual(describeTree(out, ['']), describeTree(tree, ['']))
})

test('each compression has its own digest and the same diff ID; an abort ends it', async () => {
  using work = temporaryDirectory()
  writeFileSync(join(work.path, 'file'), 'x'.repeat(100_000))
  const source = { from: 'comparison', lower: undefined, upper: work.path } as const
  const [none, gzip, zstd] = await Promise.all([diff(source, 'none'), diff(source, 'gzip'), diff(source, 'zstd')])
  assert.deepEqual([gzip.diffId, zstd.diffId], [none.digest, none.digest])
  assert.equal(new Set([none.digest, gzip.digest, zstd.digest]).size, 3)
  const stop = new AbortController()
  const made = createDiff(
    { source, compression: 'gzip' },
    () => new Promise((resolve) => setTimeout(resolve, 50)),
    stop.signal,
  )
  stop.abort(new Error('enough'))
  await assert.rejects(made, { message: 'enough' })
})
