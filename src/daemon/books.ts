import { join } from 'node:path'
import type { Redis } from 'ioredis'
import type { Logger } from 'pino'
import { Archive } from '../archive/archive.ts'
import { nodeSigner } from '../archive/node-key.ts'
import { verifierOf } from '../archive/note.ts'
import { aggregates } from '../commands/index.ts'
import { CheckpointSender } from '../log/checkpoint-sender.ts'
import { EventLog } from '../log/event-log.ts'
import { HeadWitness, headWitnessPath } from '../log/head-witness.ts'
import { logKeys } from '../log/keys.ts'
import { Sealer } from '../log/sealer.ts'
import { StateSnapshots } from '../log/state-snapshots.ts'
import type { Config } from './config.ts'

export const archiveDir = (root: string): string => join(root, 'log')
export const redisDir = (root: string): string => join(root, 'redis')
export const statesDir = (root: string): string => join(root, 'states')
export const sealingKeyPath = (root: string): string => join(root, 'keys', 'seal.key')
export const nodeKeyPath = (root: string): string => join(root, 'keys', 'log.pem')

/**
 * Opens the log with its archive, and seals it from now on.
 *
 * @param onAppend is told how long each append took
 */
export async function openBooks(
  config: Config,
  redis: Redis,
  logger: Logger,
  stack: AsyncDisposableStack,
  onAppend?: (seconds: number) => void,
) {
  const { root, node } = config
  const signer = await nodeSigner(nodeKeyPath(root), node)
  const archive = stack.use(await Archive.open(archiveDir(root), signer))
  const dataDir = config.redis.url === undefined ? redisDir(root) : undefined
  const keys = logKeys(node, config.redis.prefix)
  const witness = stack.use(HeadWitness.open(headWitnessPath(archiveDir(root))))
  const log = await EventLog.open({ redis, keys, node, aggregates, sealed: archive, witness, dataDir, onAppend })
  const { checkpointUrl, segmentAge, tailAge, keepAge, snapshotEvents, level: _, ...sizes } = config.log
  const sender = checkpointUrl === undefined ? undefined : new CheckpointSender(checkpointUrl, logger)
  const snapshots = await StateSnapshots.open({ dir: statesDir(root), aggregates, every: snapshotEvents, logger })
  stack.use(snapshots.follow(log))
  const sealer = new Sealer({
    log,
    archive,
    snapshots,
    redis,
    ...sizes,
    segmentAgeMs: segmentAge,
    tailAgeMs: tailAge,
    keepAgeMs: keepAge,
    onSealed: (checkpoint) => sender?.send(checkpoint),
    logger,
  })
  sealer.start()
  // The last one before a stop may not have arrived.
  if (archive.last > 0) sender?.send(archive.checkpoint)
  stack.defer(async () => {
    await sealer.stop()
    await sender?.stop()
  })
  return { log, archive, sealer, snapshots, signer, verifier: verifierOf(signer) }
}
