import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { mountTemporarily } from '../../src/host/mounts.ts'
import type { LayerPool } from '../../src/layers/pool.ts'
import type { Snapshotter } from '../../src/snapshotters/snapshotter.ts'
import { extractAlone, extractOnParents, joinLayer, type LayerToUnpack } from '../../src/unpack/unpack-layers.ts'
import { sha256, type TestEntry, tarOf } from './tars.ts'
import { describeTree } from './trees.ts'

export const dir = (name: string, more: Partial<TestEntry> = {}): TestEntry => ({
  name: `${name}/`,
  flag: '5',
  ...more,
})
export const file = (name: string, data = name, more: Partial<TestEntry> = {}): TestEntry => ({ name, data, ...more })
export const link = (name: string, to: string): TestEntry => ({ name, flag: '2', link: to })
export const hard = (name: string, to: string): TestEntry => ({ name, flag: '1', link: to })

export type Tree = Record<string, string>

/** Without hard link counts: overlayfs parts the names of a file that lie in different layers (index=off). */
export const uncounted = (tree: Tree): Tree =>
  Object.fromEntries(
    Object.entries(tree).map(([path, line]) => [path, line.replace(/ nlink \d+ with "(?:[^"\\]|\\.)*"/, '')]),
  )

/** Gzipped layers in files below a directory. */
export function writeLayers(below: string, layersOfEntries: readonly (readonly TestEntry[])[]): LayerToUnpack[] {
  return layersOfEntries.map((entries, at) => {
    const tar = tarOf(entries)
    const compressed = gzipSync(tar, { level: 1 })
    const path = join(below, `layer-${at}`)
    writeFileSync(path, compressed)
    return { path, digest: sha256(compressed), diffId: sha256(tar), sizeBytes: compressed.length }
  })
}

let images = 0

/** Unpacks in the given way, the way an image is pulled, and describes what a container would see. */
export async function unpackImage(
  { pool, snapshotter, runDir }: { pool: LayerPool; snapshotter: Snapshotter; runDir: string },
  layers: readonly LayerToUnpack[],
  way: 'in parallel' | 'in order',
  timeless: readonly string[],
  signal: AbortSignal,
): Promise<Tree> {
  const unpacker = { pool, snapshotter, runDir }
  images += 1
  const image = images
  const id = (index: number) => `i${image}l${index}`
  const parentsOf = (index: number) => Array.from({ length: index }, (_, at) => id(index - 1 - at))
  if (way === 'in parallel') {
    const alone = await Promise.all(
      layers.map((layer, at) => extractAlone(unpacker, layer, id(at), at === 0 ? 'bottom' : 'above', signal)),
    )
    for (const [at, layer] of layers.entries()) {
      const result = alone[at]
      assert.ok(result)
      await joinLayer(unpacker, layer, id(at), result, parentsOf(at), layer.path, signal)
    }
  } else
    for (const [at, layer] of layers.entries()) await extractOnParents(unpacker, layer, id(at), parentsOf(at), signal)
  const top = layers.length - 1
  const mounts = await snapshotter.mounts(id(top), 'committed', parentsOf(top), signal)
  await using merged = await mountTemporarily(mounts, runDir, signal)
  return describeTree(merged.path, timeless)
}

/** Without an entry for the root, its time is that of the extraction. */
export const timelessOf = (layersOfEntries: readonly (readonly TestEntry[])[]): string[] =>
  layersOfEntries.some((entries) => entries.some(({ name }) => name === './')) ? [] : ['']
