import { open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { image } from '../commands/image.ts'
import { snapshot, snapshotId, splitSnapshotId } from '../commands/snapshot.ts'
import type { EventLog } from '../log/event-log.ts'
import { spontaneous } from '../model/event.ts'
import { chainIds } from '../oci/chain-id.ts'
import { insist } from '../queue/insist.ts'
import type { Intake } from '../queue/intake.ts'
import type { Snapshotter } from '../snapshotters/snapshotter.ts'

/** Changes with each boot of the kernel. */
const BOOT_ID = '/proc/sys/kernel/random/boot_id'
/** Beside the data: which boot it was last used in. */
const BOOT_FILE = 'boot'

/** Snapshots of an image that have to be made again. */
export interface ToUnpack {
  namespace: string
  image: string
  /** Id of the snapshot of its topmost layer. */
  top: string
}

/** Whether the kernel was booted since a daemon was last here. */
export async function bootSince(root: string): Promise<'same' | 'another'> {
  const before = (await readFile(join(root, BOOT_FILE), 'utf8').catch(() => '')).trim()
  return before === '' || before === (await currentBoot()) ? 'same' : 'another'
}

/** To be called when all that a reboot leads to is done: until then it is found again after a kill. */
export async function rememberBoot(root: string): Promise<void> {
  const file = join(root, BOOT_FILE)
  const boot = await currentBoot()
  if ((await readFile(file, 'utf8').catch(() => '')).trim() !== boot) await writeDurably(file, `${boot}\n`)
}

const currentBoot = async (): Promise<string> => (await readFile(BOOT_ID, 'utf8')).trim()

/**
 * After a reboot, snapshots that were committed and not known to be on the disk may hold files that are empty or cut off. The
 * log forgets them, so that their directories go, and they are unpacked again from their blobs, which are on the disk.
 *
 * @returns the images whose snapshots are to be made again
 */
export async function forgetUnsynced(log: EventLog, boot: 'same' | 'another', logger: Logger): Promise<ToUnpack[]> {
  return boot === 'same' ? [] : await forget(log, logger)
}

async function forget(log: EventLog, logger: Logger): Promise<ToUnpack[]> {
  const unsynced = [...log.documents.list(snapshot)].filter(
    ({ state }) => state.status === 'committed' && !state.synced,
  )
  if (unsynced.length === 0) return []
  const suspects = new Map(unsynced.map(({ namespace, id }) => [`${namespace}/${id}`, { namespace, id }]))
  const snapshotters = new Set(unsynced.map(({ id }) => splitSnapshotId(id).snapshotter))
  const toUnpack: ToUnpack[] = []
  const again = new Set<string>()
  for (const { namespace, id: name, state } of log.documents.list(image)) {
    if (state.status === 'absent') continue
    const chain = chainIds(state.layers.map(({ diffId }) => diffId))
    for (const snapshotter of snapshotters) {
      const ids = chain.map((chainId) => snapshotId(snapshotter, chainId))
      const suspect = ids.filter((id) => suspects.has(`${namespace}/${id}`))
      if (suspect.length === 0) continue
      for (const id of suspect) again.add(`${namespace}/${id}`)
      toUnpack.push({ namespace, image: name, top: ids.at(-1) ?? '' })
    }
  }
  // One that no image can be made of again may be whole, and a container may need it.
  const forgotten = [...suspects].filter(([key]) => again.has(key)).map(([, each]) => each)
  logger.warn({ snapshots: forgotten.length, kept: suspects.size - forgotten.length }, 'unpacked again after a reboot')
  const facts = forgotten.map(({ namespace, id }) => snapshot.fact(id, 'snapshot.removed', {}, namespace))
  if (facts.length > 0) await log.record(facts, 'default', spontaneous('reboot'))
  return toUnpack
}

/** Asks for it; who needs one before that is done, waits for it or makes it. */
export function unpackAgain(images: readonly ToUnpack[], intake: Intake, logger: Logger): Disposable {
  const stop = new AbortController()
  const { signal } = stop
  const asking = images.map(({ namespace, image: name, top }) => {
    const request = { type: 'snapshot.unpack', subject: top, namespace, payload: { image: name } }
    const ask = () => intake.submit(request, { actor: 'purser:reboot' })
    return insist('unpacking after a reboot', ask, { logger, signal })
  })
  Promise.all(asking).catch((err) => {
    if (!signal.aborted) logger.warn({ err }, 'snapshots could not be asked for again: purser pull makes them')
  })
  return { [Symbol.dispose]: () => stop.abort() }
}

/** What a pull that was cut off had unpacked: the log does not know it, so nobody will ask for it. */
export async function removeUnknownSnapshots(
  log: EventLog,
  snapshotters: ReadonlyMap<string, Snapshotter>,
  logger: Logger,
): Promise<void> {
  const known = new Set(
    [...log.documents.list(snapshot)].flatMap(({ state }) => (state.status === 'absent' ? [] : [state.dir])),
  )
  for (const snapshotter of snapshotters.values()) {
    const listed = await snapshotter.list(AbortSignal.timeout(30_000)).catch((err: unknown) => {
      logger.warn({ err, snapshotter: snapshotter.name }, 'a snapshotter does not answer')
      return []
    })
    for (const id of listed) {
      if (known.has(id)) continue
      logger.info({ snapshotter: snapshotter.name, id }, 'removing a snapshot that was not finished')
      await snapshotter
        .remove(id, AbortSignal.timeout(600_000))
        .catch((err) => logger.warn({ err, id }, 'it could not be removed'))
    }
  }
}

async function writeDurably(path: string, text: string): Promise<void> {
  await using file = await open(`${path}.new`, 'w', 0o600)
  await file.writeFile(text)
  await file.sync()
  await rename(`${path}.new`, path)
}
