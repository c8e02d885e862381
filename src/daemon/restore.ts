import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Redis } from 'ioredis'
import { type Logger, pino } from 'pino'
import { Archive } from '../archive/archive.ts'
import { nodeSigner } from '../archive/node-key.ts'
import { type Verifier, verifierOf } from '../archive/note.ts'
import { verifyArchive } from '../archive/verify.ts'
import { aggregates } from '../commands/index.ts'
import { HeadWitness, headWitnessPath } from '../log/head-witness.ts'
import { importLog, readExport } from '../log/import.ts'
import { logKeys } from '../log/keys.ts'
import { type Restored, restoreLog } from '../log/restore.ts'
import { StateSnapshots } from '../log/state-snapshots.ts'
import { errorCodeOf, PurserError } from '../model/errors.ts'
import { ledgerOf } from '../queue/intake.ts'
import { archiveDir, nodeKeyPath, redisDir, statesDir } from './books.ts'
import { type Config, loadConfig } from './config.ts'
import { connectRedis, redisUrl } from './connect.ts'
import { lockDirectory } from './lock.ts'

export interface OfflineOptions {
  config?: string | undefined
  root?: string | undefined
  state?: string | undefined
  debug: boolean
}

/** What the books of a stopped daemon are worked on with. */
interface Offline {
  config: Config
  redis: Redis
  archive: Archive
  verifier: Verifier
  witness: HeadWitness
  /** Where the append-only file went, when Redis could not read it. */
  aside: string | undefined
  logger: Logger
}

export interface RestoreReport extends Restored {
  aside?: string
}

/**
 * Makes the log in Redis anew from the archive, with no daemon running.
 *
 * @param given.head the last position that was acknowledged, where the caller knows better than this host
 * @param given.without positions of events in Redis that are not to be believed
 * @throws PurserError failed_precondition when a daemon runs; data_loss when the archive is not as it was signed
 */
export async function restoreOffline(
  options: OfflineOptions,
  { head, without = [] }: { head?: number | undefined; without?: readonly number[] },
): Promise<RestoreReport> {
  await using stack = new AsyncDisposableStack()
  const books = await openOffline(options, stack)
  if (books.archive.last > 0) await checkArchive(books.config.root, books.verifier)
  return await restore(books, head ?? books.witness.position, without)
}

/**
 * Takes what `purser log export` wrote into a node that has nothing yet.
 *
 * @param files parts that follow each other, from event 1 on
 * @param verifier of whoever signed them; what the files themselves say without it
 */
export async function importOffline(
  options: OfflineOptions,
  files: readonly string[],
  verifier: Verifier | undefined,
): Promise<RestoreReport & { unsigned: number }> {
  // Read twice: nothing is written before all of it is known to be sound.
  const { unsigned } = await readExport(files, verifier)
  await using stack = new AsyncDisposableStack()
  const books = await openOffline(options, stack)
  const { config, redis, archive, witness } = books
  const keys = logKeys(config.node, config.redis.prefix)
  if (archive.last > 0 || witness.position > 0 || (await redis.hexists(keys.meta, 'head')) > 0)
    throw new PurserError('failed_precondition', `node ${config.node} has a log already`, {
      remedy: 'import into a node with an empty --root',
    })
  await importLog(files, archive, config.log.segmentEvents)
  return { ...(await restore(books, 0, [])), unsigned }
}

async function openOffline(options: OfflineOptions, stack: AsyncDisposableStack): Promise<Offline> {
  const config = loadConfig(options.config, {
    root: options.root,
    state: options.state,
    level: options.debug ? 'debug' : undefined,
  })
  const level = options.debug ? 'debug' : 'error'
  const logger = pino({ level, base: null }, pino.destination({ dest: 2, sync: true }))
  const { root, state, node } = config
  await mkdir(root, { recursive: true, mode: 0o700 })
  await mkdir(state, { recursive: true, mode: 0o711 })
  const { signal } = new AbortController()
  for (const [what, dir] of Object.entries({ root, state })) stack.use(await lockDirectory(dir, `--${what}`, signal))
  const signer = await nodeSigner(nodeKeyPath(root), node)
  const archive = stack.use(
    await Archive.open(archiveDir(root), signer).catch(async (error) => {
      if (errorCodeOf(error) === 'data_loss') await checkArchive(root, verifierOf(signer)) // It names the event.
      throw error
    }),
  )
  const witness = stack.use(HeadWitness.open(headWitnessPath(archiveDir(root))))
  const { url, aside } = await startOrSetAside(config, logger, signal, stack)
  const redis = await connectRedis(url, logger, stack)
  return { config, redis, archive, verifier: verifierOf(signer), witness, aside, logger }
}

/** A Redis of our own that cannot read its append-only file starts without it; the file is kept. */
async function startOrSetAside(config: Config, logger: Logger, signal: AbortSignal, stack: AsyncDisposableStack) {
  try {
    return { url: await redisUrl(config, logger, signal, stack), aside: undefined }
  } catch (error) {
    if (errorCodeOf(error) !== 'unavailable' || config.redis.url !== undefined) throw error
    const dir = redisDir(config.root)
    const aside = join(dir, `unreadable-${new Date().toISOString().replaceAll(/[:.]/g, '-')}`)
    await rename(join(dir, 'appendonlydir'), aside).catch(() => {
      throw error
    })
    return { url: await redisUrl(config, logger, signal, stack), aside }
  }
}

/** A log is not founded on an archive that somebody has changed. */
async function checkArchive(root: string, verifier: Verifier): Promise<void> {
  const { fault } = await verifyArchive({ dir: archiveDir(root), verifier })
  if (fault === undefined) return
  const at = fault.position === undefined ? '' : `event ${fault.position}: `
  throw new PurserError('data_loss', `${fault.kind}: ${at}${fault.detail} (${fault.file})`, {
    remedy: 'put that file back from a backup, then restore',
  })
}

async function restore(
  { config, redis, archive, witness, aside, logger }: Offline,
  acknowledged: number,
  without: readonly number[],
): Promise<RestoreReport> {
  const { root, node } = config
  const { tailEvents, segmentEvents, snapshotEvents } = config.log
  const snapshots = await StateSnapshots.open({ dir: statesDir(root), aggregates, every: snapshotEvents, logger })
  const restored = await restoreLog({
    redis,
    keys: logKeys(node, config.redis.prefix),
    node,
    aggregates,
    archive,
    snapshots,
    tailEvents,
    segmentEvents,
    acknowledged,
    without: new Set(without),
    ledgerOf,
  })
  witness.note(restored.head)
  await removeProjections(join(root, 'projections'), restored.lost[0]?.first ?? restored.head)
  return { ...restored, ...(aside === undefined ? {} : { aside }) }
}

/** Stores that have folded an event which is another one now; the daemon makes them again. */
async function removeProjections(dir: string, from: number): Promise<void> {
  for (const name of await readdir(dir).catch(() => [])) {
    for (const schema of await readdir(join(dir, name)).catch(() => [])) {
      const store = join(dir, name, schema)
      if (checkpointOf(join(store, 'projection.sqlite')) >= from) await rm(store, { recursive: true, force: true })
    }
  }
}

function checkpointOf(path: string): number {
  try {
    using db = new DatabaseSync(path)
    return Number(db.prepare('SELECT checkpoint FROM projection').get()?.checkpoint ?? Number.POSITIVE_INFINITY)
  } catch {
    return Number.POSITIVE_INFINITY // Damaged, or of another kind: it is made again.
  }
}
