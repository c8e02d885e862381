import { splitSnapshotId } from '../../commands/snapshot.ts'
import { PurserError } from '../../model/errors.ts'
import type { Snapshotter } from '../../snapshotters/snapshotter.ts'

/** The snapshotter that a snapshot's id names. @throws PurserError invalid_argument */
export function snapshotterOf(
  snapshotters: ReadonlyMap<string, Snapshotter>,
  id: string,
): { snapshotter: Snapshotter; key: string } {
  const { snapshotter: name, key } = splitSnapshotId(id)
  const snapshotter = snapshotters.get(name)
  if (snapshotter) return { snapshotter, key }
  throw new PurserError('invalid_argument', `there is no snapshotter ${name}`, {
    remedy: `use one of ${[...snapshotters.keys()].join(', ')}`,
  })
}
