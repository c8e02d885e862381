import type { Logger } from 'pino'
import { content } from '../commands/content.ts'
import { contentOf, image } from '../commands/image.ts'
import { logBook } from '../commands/log.ts'
import { snapshot, splitSnapshotId } from '../commands/snapshot.ts'
import type { ContentStore } from '../content/store.ts'
import type { EventLog } from '../log/event-log.ts'
import type { Fact } from '../model/aggregate.ts'
import type { Digest } from '../model/digest.ts'
import { spontaneous } from '../model/event.ts'
import type { Snapshotter } from '../snapshotters/snapshotter.ts'

const LIST_MS = 30_000

const isRecorded = (log: EventLog, namespace: string, digest: Digest): boolean =>
  log.documents.get(content, namespace, digest).status === 'present'

/**
 * After a restoration the log may know blobs and snapshots whose removal was among the lost events, or, imported, that were on
 * another host. That they are gone is recorded, so that a pull brings them again; an image that lacks a blob goes with it.
 */
export async function recordMissing(
  log: EventLog,
  store: ContentStore,
  snapshotters: ReadonlyMap<string, Snapshotter>,
  logger: Logger,
): Promise<void> {
  if (log.documents.read(logBook.name, 'default', 'node').version !== log.head || log.head === 0) return
  const facts: Fact[] = []
  const blobs = new Set<string>()
  for await (const { digest } of store.list()) blobs.add(digest)
  for (const { namespace, id } of log.documents.list(content))
    if (!blobs.has(id)) facts.push(content.fact(id, 'content.deleted', {}, namespace))
  for (const { namespace, id, state } of log.documents.list(image)) {
    if (state.status === 'absent') continue
    // A layer that the namespace has no record of was discarded once it was unpacked.
    const needed = contentOf(state).filter((digest) => {
      return state.layers.every((layer) => layer.digest !== digest) || isRecorded(log, namespace, digest)
    })
    if (needed.some((digest) => !blobs.has(digest))) facts.push(image.fact(id, 'image.deleted', {}, namespace))
  }
  const dirs = new Map<string, Set<string>>()
  for (const [name, snapshotter] of snapshotters) {
    // Of one that does not answer nothing is known to be missing.
    const listed = await snapshotter.list(AbortSignal.timeout(LIST_MS)).catch(() => undefined)
    if (listed) dirs.set(name, new Set(listed))
  }
  for (const { namespace, id, state } of log.documents.list(snapshot)) {
    // One that is being made is its own command's affair.
    if (state.status === 'absent' || state.status === 'preparing') continue
    if (dirs.get(splitSnapshotId(id).snapshotter)?.has(state.dir) === false)
      facts.push(snapshot.fact(id, 'snapshot.removed', {}, namespace))
  }
  if (facts.length === 0) return
  await log.record(facts, 'default', spontaneous('restore'))
  const subjects = facts.slice(0, 100).map(({ aggregate, id }) => `${aggregate}/${id}`)
  logger.warn({ count: facts.length, subjects }, 'the log knew what this host does not have')
}
