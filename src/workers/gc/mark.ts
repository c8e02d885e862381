import { command, isActive } from '../../commands/command.ts'
import { container } from '../../commands/container.ts'
import { content } from '../../commands/content.ts'
import { contentOf, image } from '../../commands/image.ts'
import { type SnapshotState, snapshot, snapshotId, splitSnapshotId } from '../../commands/snapshot.ts'
import type { View } from '../../model/aggregate.ts'
import type { Labels } from '../../model/labels.ts'
import { chainIds } from '../../oci/chain-id.ts'

/** A record that nothing refers to. */
export interface Garbage {
  kind: 'content' | 'snapshot'
  namespace: string
  id: string
  /** What was read: whoever has changed it since has come to use it. */
  version: number
}

/**
 * What nothing refers to, of all namespaces, at one position of the log. Roots are images, containers and running commands
 * (what those brought or made); an image holds its blobs and the snapshots of its layers, a snapshot holds its parents.
 *
 * @returns content in any order, then snapshots, children before parents
 */
export function findGarbage(view: View): Garbage[] {
  const active = new Set<string>()
  for (const { id, state } of view.list(command)) if (isActive(state)) active.add(id)
  const usedContent = new Set<string>()
  const usedKeys = new Set<string>() // Snapshot keys, of whatever snapshotter.
  for (const { namespace, state } of view.list(image)) {
    if (state.status === 'absent') continue
    for (const digest of contentOf(state)) usedContent.add(`${namespace}/${digest}`)
    for (const chainId of chainIds(state.layers.map((layer) => layer.diffId))) usedKeys.add(`${namespace}/${chainId}`)
  }
  for (const { namespace, state } of view.list(container)) {
    if (state.status === 'absent') continue
    for (const { snapshotKey } of [state, ...(state.imageMounts ?? [])]) usedKeys.add(`${namespace}/${snapshotKey}`)
    usedContent.add(`${namespace}/${state.manifest}`).add(`${namespace}/${state.config}`)
  }

  const garbage: Garbage[] = []
  for (const { namespace, id, version, state } of view.list(content)) {
    if (state.status === 'absent' || active.has(state.by) || usedContent.has(`${namespace}/${id}`)) continue
    if (isRoot(state.labels)) continue
    garbage.push({ kind: 'content', namespace, id, version })
  }
  const usedSnapshots = new Set<string>()
  for (const { namespace, id, state } of view.list(snapshot)) {
    if (state.status === 'absent') continue
    const isUsed = active.has(state.by) || usedKeys.has(`${namespace}/${splitSnapshotId(id).key}`)
    if (!isUsed && !isRoot(state.labels)) continue
    for (const each of lineage(view, namespace, id)) usedSnapshots.add(`${namespace}/${each}`)
  }
  const unused = [...view.list(snapshot)].filter(({ namespace, id }) => !usedSnapshots.has(`${namespace}/${id}`))
  const depths = new Map(unused.map((entry) => [entry, [...lineage(view, entry.namespace, entry.id)].length]))
  unused.sort((a, b) => (depths.get(b) ?? 0) - (depths.get(a) ?? 0))
  for (const { namespace, id, version } of unused) garbage.push({ kind: 'snapshot', namespace, id, version })
  return garbage
}

/** Whoever made it keeps it. @see containerd, docs/garbage-collection.md */
const isRoot = (labels: Labels): boolean => Object.hasOwn(labels, 'containerd.io/gc.root')

/** A snapshot and its ancestors. */
function* lineage(view: View, namespace: string, id: string): Iterable<string> {
  const { snapshotter } = splitSnapshotId(id)
  for (let at: string | undefined = id; at !== undefined; ) {
    yield at
    const state: SnapshotState = view.get(snapshot, namespace, at)
    at = state.status === 'absent' || state.parent === undefined ? undefined : snapshotId(snapshotter, state.parent)
  }
}
