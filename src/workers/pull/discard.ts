import type { Logger } from 'pino'
import { type CommandState, command } from '../../commands/command.ts'
import { content } from '../../commands/content.ts'
import { snapshot, snapshotId } from '../../commands/snapshot.ts'
import type { ContentStore } from '../../content/store.ts'
import type { EventLog } from '../../log/event-log.ts'
import type { Fact } from '../../model/aggregate.ts'
import { type Digest, parseDigest } from '../../model/digest.ts'
import type { Snapshotter } from '../../snapshotters/snapshotter.ts'
import type { PullJob } from './commit-snapshots.ts'
import type { Layer } from './layer.ts'

/** Whether a layer is unpacked and its blob is gone: then nothing of it has to be fetched. */
export async function isDiscarded(
  { view, namespace, effects }: PullJob,
  snapshotter: Snapshotter,
  { chainId, digest }: Layer,
): Promise<boolean> {
  const unpacked = view.get(snapshot, namespace, snapshotId(snapshotter.name, chainId))
  return unpacked.status === 'committed' && (await effects.content.stat(digest)) === undefined
}

/** That the namespace needs the blobs of unpacked layers no more. */
export const discarded = ({ view, namespace }: PullJob, layers: readonly Layer[]): Fact[] =>
  [...new Set(layers.map(({ digest }) => digest))]
    .filter((digest) => view.get(content, namespace, digest).status === 'present')
    .map((digest) => content.fact(digest, 'content.deleted', {}))

export interface DiscardOptions {
  log: EventLog
  store: ContentStore
  /** Brings the snapshots to the disk, which cannot be made again without the blobs. */
  sync: (signal: AbortSignal) => Promise<void>
  logger: Logger
}

/** Removes the blobs that a pull has discarded, unless somebody else has or wants them. */
export function removeDiscarded({ log, store, sync, logger }: DiscardOptions): Disposable {
  const stop = new AbortController()
  const { signal } = stop
  let pending = new Set<Digest>()
  const remove = async () => {
    await sync(signal)
    const digests = pending
    pending = new Set()
    const recorded = new Set([...log.documents.list(content)].map(({ id }) => id))
    for (const digest of digests) if (!recorded.has(digest)) store.remove(digest)
  }
  let _removing: Promise<void> | undefined
  const listening = log.listen((event) => {
    if (event.type !== 'content.deleted') return
    const by: CommandState = log.documents.get(command, event.namespace, event.commandid)
    if (by.status === 'absent' || by.command.type !== 'image.pull') return
    pending.add(parseDigest(event.subject.slice('content/'.length)))
    _removing ??= remove()
      .catch((err) => {
        // Collection removes what nobody has a record of.
        if (!signal.aborted) logger.warn({ err }, 'discarded layers are not removed yet')
      })
      .finally(() => {
        _removing = undefined
      })
  })
  return {
    [Symbol.dispose]: () => {
      listening[Symbol.dispose]()
      stop.abort()
    },
  }
}
