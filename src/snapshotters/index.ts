import { join } from 'node:path'
import { NativeSnapshotter } from './native.ts'
import { OverlayfsSnapshotter } from './overlayfs.ts'
import type { Snapshotter } from './snapshotter.ts'

const all: Record<string, (root: string) => Promise<Snapshotter>> = {
  native: NativeSnapshotter.open,
  overlayfs: OverlayfsSnapshotter.open,
}

/** Every snapshotter by its name, each in a directory of its own. */
export async function openSnapshotters(root: string): Promise<ReadonlyMap<string, Snapshotter>> {
  const opened = new Map<string, Snapshotter>()
  for (const [name, open] of Object.entries(all)) opened.set(name, await open(join(root, name)))
  return opened
}
