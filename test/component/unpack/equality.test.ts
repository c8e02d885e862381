import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { LayerPool } from '../../../src/layers/pool.ts'
import { PurserError } from '../../../src/model/errors.ts'
import { NativeSnapshotter } from '../../../src/snapshotters/native.ts'
import { openOverlayfs } from '../../../src/snapshotters/overlayfs.ts'
import type { Snapshotter } from '../../../src/snapshotters/snapshotter.ts'
import { layerStack } from '../../support/layer-stacks.ts'
import type { TestEntry } from '../../support/tars.ts'
import { temporaryDirectory } from '../../support/trees.ts'
import { unpackByUmoci } from '../../support/umoci.ts'
import { type Tree, timelessOf, uncounted, unpackImage, writeLayers } from '../../support/unpacking.ts'

/** For long runs: LAYER_STACKS_SECONDS=3600; and LAYER_STACKS_SEED, which a failure states, to see one again. */
const seconds = Number(process.env.LAYER_STACKS_SECONDS ?? 12)
const seed = Number(process.env.LAYER_STACKS_SEED ?? Math.floor(Math.random() * 2 ** 30))
const STACKS_AT_ONCE = 10

const pool = new LayerPool({ threads: 2, idleMs: 500 })
const signal = AbortSignal.timeout((seconds + 120) * 1000)

/** The tree, or why there is none: a tar that cannot be applied in order must not be taken in parallel either. */
async function outcomeOf(unpacking: Promise<Tree>): Promise<Tree | string> {
  try {
    return await unpacking
  } catch (error) {
    if (error instanceof PurserError && error.code === 'data_loss') return 'refused'
    throw error
  }
}

const ifTree = (outcome: Tree | string, change: (tree: Tree) => Tree): Tree | string =>
  typeof outcome === 'string' ? outcome : change(outcome)

test('a stack of layers unpacked in parallel equals the same one unpacked in order, and what umoci makes of it', async (t) => {
  const counts = { seed, stacks: 0, refused: 0, comparedWithUmoci: 0 }
  const property = fc.asyncProperty(layerStack, async (layersOfEntries) => {
    counts.stacks += 1
    using work = temporaryDirectory()
    const layers = writeLayers(work.path, layersOfEntries)
    const timeless = timelessOf(layersOfEntries)
    const overlayfs = await openOverlayfs(join(work.path, 'o'))
    const native = await NativeSnapshotter.open(join(work.path, 'n'))
    const unpack = (snapshotter: Snapshotter, way: 'in parallel' | 'in order') =>
      outcomeOf(unpackImage({ pool, snapshotter, runDir: work.path }, layers, way, timeless, signal))
    const inOrder = await unpack(overlayfs, 'in order')
    assert.deepEqual(await unpack(overlayfs, 'in parallel'), inOrder)
    const plain = await unpack(native, 'in order')
    assert.deepEqual(ifTree(inOrder, uncounted), ifTree(plain, uncounted))
    if (typeof plain === 'string') counts.refused += 1
    else if (compareWithUmoci(work.path, layersOfEntries, layers, plain)) counts.comparedWithUmoci += 1
  })
  const endMs = performance.now() + seconds * 1000
  for (let batch = 0; performance.now() < endMs; batch += 1) {
    await fc.assert(property, { seed: seed + batch, numRuns: STACKS_AT_ONCE, interruptAfterTimeLimit: 60_000 })
  }
  t.diagnostic(JSON.stringify(counts))
  assert.ok(counts.comparedWithUmoci > 0)
})

const nameOf = ({ name, pax }: TestEntry): string => pax?.path?.toString('latin1') ?? name
const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('/')))

/**
 * Whether a whiteout may be in a directory that is not there: as in containerd it is made; umoci only looks for
 * something to remove. Goes by names, without symlinks.
 */
function hidesInNothing(layersOfEntries: readonly (readonly TestEntry[])[]): boolean {
  let known = new Set([''])
  for (const entry of layersOfEntries.flat()) {
    const path = nameOf(entry).replace(/\/$/, '')
    const parent = parentOf(path)
    const hidden = /(?:^|\/)\.wh\.([^/]+)$/.exec(path)?.[1]
    if (hidden !== undefined) {
      if (!known.has(parent)) return true
      const within = parent === '' ? '' : `${parent}/`
      const prefix = hidden === '.wh..opq' ? within : `${within}${hidden}`
      known = new Set([...known].filter((each) => each === '' || !each.startsWith(prefix)))
      continue
    }
    for (let at = parent; at !== ''; at = parentOf(at)) known.add(at)
    if (entry.flag === '5') known.add(path)
    else known = new Set([...known].filter((each) => each !== path && !each.startsWith(`${path}/`)))
  }
  return false
}

function compareWithUmoci(
  below: string,
  layersOfEntries: readonly (readonly TestEntry[])[],
  layers: ReturnType<typeof writeLayers>,
  mine: Tree,
): boolean {
  if (hidesInNothing(layersOfEntries)) return false
  const begunAtNs = BigInt(Date.now()) * 1_000_000n
  let theirs: Tree
  try {
    theirs = unpackByUmoci(below, layers, timelessOf(layersOfEntries))
  } catch {
    return false
  }
  // A directory that no entry made is as old as its first entry here, and as old as the extraction there.
  const isUnstated = (line: string) => line.startsWith('4') && BigInt(/mtime (-?\d+)/.exec(line)?.[1] ?? 0) >= begunAtNs
  for (const [path, line] of Object.entries(theirs)) {
    if (!isUnstated(line) || !mine[path]?.startsWith('4')) continue
    theirs[path] = 'directory'
    mine[path] = 'directory'
  }
  // umoci leaves out an extended attribute without a value.
  for (const [path, line] of Object.entries(mine)) mine[path] = line.replace(' user.empty=', '')
  assert.deepEqual(mine, theirs)
  return true
}
